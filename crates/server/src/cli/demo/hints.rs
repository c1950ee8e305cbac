//! What to try next, ready to be pasted.

use std::path::Path;

/// The commands to try against the server of the demo.
pub(super) fn text(url: &str, base_path: &str, client: &str, secret_file: &Path, archive_id: &str) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "dipper".to_owned());
    let secret = quoted(&secret_file.display().to_string());
    format!(
        "\
The API, to read and to try:  {url}/swagger/

Paste into another terminal:

  export DIPPER_SERVER={url} DIPPER_CLIENT_ID={client} DIPPER_CLIENT_SECRET_FILE={secret}

  # with curl: a token, an order, where it stands
  TOKEN=$(curl -s $DIPPER_SERVER/oauth2/token -d grant_type=client_credentials -d client_id=$DIPPER_CLIENT_ID \\
    --data-urlencode client_secret@$DIPPER_CLIENT_SECRET_FILE | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')
  curl -i $DIPPER_SERVER{base_path}/v1/disseminations -H \"Authorization: Bearer $TOKEN\" \\
    -H 'Content-Type: application/json' -d '{{\"archiveId\":\"{archive_id}\"}}'
  curl -s $DIPPER_SERVER{base_path}/v1/disseminations -H \"Authorization: Bearer $TOKEN\"

  # the same with this program
  {program} order {archive_id} --wait
  {program} fetch DISSEMINATION_ID
"
    )
}

/// A word that the shell leaves as it is.
fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-+".contains(character);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("/tmp/a-b_c.1"), "/tmp/a-b_c.1");
        assert_eq!(quoted("/tmp/my demo's"), r"'/tmp/my demo'\''s'");
    }
}
