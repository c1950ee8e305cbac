//! Who uses the command line, for the record.

use clap::Args;
use dipper_core::deletion::Agent;
use dipper_core::installation::host_name;

use super::exit::{Exit, told};

/// The person who sets something up, as the audit log names them.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct By {
    /// Your name, for the audit log [default: the name under which you are logged in, and this machine's]
    #[arg(long = "by", value_name = "NAME", global = true, help_heading = "Installation")]
    by: Option<String>,
}

impl By {
    /// Who it is. Where nobody is logged in, as in a container, it is the number of the user.
    pub(crate) fn agent(&self) -> anyhow::Result<Agent> {
        match &self.by {
            Some(name) => operator(name),
            None => {
                let name = logged_in().unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
                let name: String = format!("{name}@{}", host_name()).chars().filter(|c| !c.is_control()).collect();
                Ok(Agent::operator(&name))
            }
        }
    }
}

/// The name of whoever is logged in.
pub(crate) fn logged_in() -> Option<String> {
    let name = ["SUDO_USER", "LOGNAME", "USER"].into_iter().find_map(|name| std::env::var(name).ok());
    name.filter(|name| is_name(name.trim())).map(|name| name.trim().to_owned())
}

/// An operator of that name.
pub(crate) fn operator(name: &str) -> anyhow::Result<Agent> {
    let name = name.trim();
    let message = "say with --by who you are: 1 to 100 characters without control characters";
    is_name(name).then(|| Agent::operator(name)).ok_or_else(|| told(Exit::Usage, message))
}

fn is_name(name: &str) -> bool {
    (1..=100).contains(&name.chars().count()) && !name.contains(char::is_control)
}
