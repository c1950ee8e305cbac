//! `dipper config`: looks at settings before a server is started with them.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::{Exit, told};
use super::local::LocalArguments;
use super::output::{self, Output, count};
use crate::config::{DEFAULTS, Settings};

#[derive(Debug, Args)]
pub(crate) struct ConfigArguments {
    #[command(flatten)]
    local: LocalArguments,
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check file and environment, and tell every problem
    Check,
    /// Print every setting with its explanation and default, as a file to begin with
    Default,
}

pub(crate) fn run(arguments: ConfigArguments, output: Output) -> anyhow::Result<()> {
    match arguments.command {
        ConfigCommand::Default => output::print(DEFAULTS),
        ConfigCommand::Check => check(&arguments.local, output),
    }
}

fn check(local: &LocalArguments, output: Output) -> anyhow::Result<()> {
    let problems = match Settings::load(&local.sources(Vec::new())?) {
        Ok(settings) => settings.check_files(),
        Err(error) => error.0,
    };
    if problems.is_empty() {
        return output.result(&json!({ "valid": true, "problems": [] }), "the settings are valid\n");
    }
    let listed: Vec<Value> =
        problems.iter().map(|problem| json!({ "key": problem.key, "message": problem.message })).collect();
    let text: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    output.result(&json!({ "valid": false, "problems": listed }), &text)?;
    Err(told(Exit::Failure, format!("the settings have {}", count(problems.len() as u64, "problem"))))
}
