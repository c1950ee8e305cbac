//! `dipper migrate`: makes the catalogue's tables, and brings them up to date after an upgrade.

use anyhow::Context as _;
use clap::Args;
use dipper_core::data::DataDirectory;
use dipper_core::db::{Database, Place};
use serde_json::json;

use super::exit::{Exit, told};
use super::local::LocalArguments;
use super::output::Output;

#[derive(Debug, Args)]
pub(crate) struct MigrateArguments {
    #[command(flatten)]
    local: LocalArguments,
    /// Change nothing; end with exit code 7 if something is to be done
    #[arg(long)]
    check: bool,
}

pub(crate) async fn run(arguments: MigrateArguments, output: Output) -> anyhow::Result<()> {
    let places = arguments.local.settings()?.places()?;
    let catalogue = places.catalogue();
    let name = match &catalogue {
        Place::File(path) => path.display().to_string(),
        Place::Server(server) => server.to_string(),
    };
    let before = Database::schema(&catalogue).await.with_context(|| name.clone())?;
    let text = if before.is_current() {
        format!("{name}: the schema is up to date (version {})\n", before.wanted)
    } else if arguments.check || before.found > before.wanted {
        return Err(told(Exit::Conflict, format!("{name}: {before}")));
    } else {
        if let Place::File(_) = &catalogue {
            let directory = || places.data.display().to_string();
            let data = DataDirectory::open(&places.data).with_context(directory)?;
            // Others who begin on this directory make its tables too.
            let locked = tokio::task::spawn_blocking(move || data.lock_setup()).await?;
            let _lock = locked.with_context(directory)?;
            Database::migrate(&catalogue, None).await.with_context(|| name.clone())?;
        } else {
            Database::migrate(&catalogue, None).await.with_context(|| name.clone())?;
        }
        match before.found {
            0 => format!("{name}: the tables were made (version {})\n", before.wanted),
            found => format!("{name}: the schema was brought from version {found} to version {}\n", before.wanted),
        }
    };
    output.result(&json!({ "before": before.found, "version": before.wanted }), &text)
}
