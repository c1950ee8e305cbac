//! The command line: one file a subject.
//!
//! Commands of the operator (`contract`, `ingest`, …) open the data directory themselves and work beside a running
//! server. Commands of a client (`order`, `status`, `fetch`) know nothing but the server's address, in `remote`.

mod audit;
mod bar;
mod by;
mod client;
mod client_key;
mod completions;
mod config;
mod contract;
mod deletion;
mod demo;
mod exit;
mod fixity;
mod gateway;
mod hold;
mod index;
mod ingest;
mod interrupt;
mod local;
mod look;
mod migrate;
mod output;
mod package;
mod process;
mod queue;
mod remote;
mod serve;
mod sftp;
mod submission;
mod verify;
mod webhook;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::exit::Exit;
use self::output::Output;
pub(crate) use self::remote::VARIABLES as CLIENT_VARIABLES;

const AFTER_HELP: &str = "\
Commands of the operator take --data DIR and --config FILE, and work beside a running server on the same data \
directory. Every setting can also come from the environment: see `dipper config default`.

Results go to standard output, with --json as one JSON document; progress, logs and errors go to standard error.";

/// Dipper keeps archival packages in OCFL storage roots and hands them out, verified, to the systems that ask.
#[derive(Debug, Parser)]
#[command(name = "dipper", version, after_help = AFTER_HELP, after_long_help = exit::help(AFTER_HELP))]
pub(crate) struct Cli {
    /// Print the result as one JSON document
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: HTTP, workers and notices
    Serve(serve::ServeArguments),
    /// Work on steps and send notices beside servers on the same installation, as often as there are machines for it
    Worker(worker::WorkerArguments),
    /// Show the whole way of a package on this machine, and leave a server to try
    Demo(demo::DemoArguments),
    /// Store a directory or a bag as a package, or as a new version of one
    Ingest(ingest::IngestArguments),
    /// Check the storage root, and read every stored byte against its digests
    Verify(verify::VerifyArguments),
    /// Rebuild the catalogue from the storage root, or adopt a root that other software made
    Index(index::IndexArguments),
    /// Add and list contracts
    Contract(contract::ContractArguments),
    /// Add clients, and set what they may do
    Client(client::ClientArguments),
    /// Add webhooks, and look at what was sent to them
    Webhook(webhook::WebhookArguments),
    /// Set and show where the files of a contract's deposits are fetched from
    Gateway(gateway::GatewayArguments),
    /// Find packages
    Package(package::PackageArguments),
    /// Show what was handed in through incoming directories, and what became of it
    Submission(submission::SubmissionArguments),
    /// Delete content for good, and approve or withdraw what others ordered to be deleted
    Deletion(deletion::DeletionArguments),
    /// Keep packages from being deleted
    Hold(hold::HoldArguments),
    /// Show what happened to orders and packages
    Events(look::EventsArguments),
    /// Show what was read again of what is stored, and what is due
    Fixity(fixity::FixityArguments),
    /// Check, list and export the log of what was done with stored content
    Audit(audit::AuditArguments),
    /// Show how much work is waiting; repeat, withdraw or hurry an order
    Queue(queue::QueueArguments),
    /// Show the processes of the installation, and what they work on
    Process(process::ProcessArguments),
    /// Order a package from a running server
    Order(remote::order::OrderArguments),
    /// Show where an order stands
    Status(remote::order::StatusArguments),
    /// Fetch what an order delivered; goes on where an earlier fetch was cut off
    Fetch(remote::fetch::FetchArguments),
    /// Make the tables of the database, or bring them up to date after an upgrade
    Migrate(migrate::MigrateArguments),
    /// Show what clients need to know of the SFTP server
    Sftp(sftp::SftpArguments),
    /// Check or print settings
    Config(config::ConfigArguments),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArguments),
}

/// Reads the command line, does what it says, and tells by the exit code how that went.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help that nobody reads to its end is no failure.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Success.into() };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&anyhow::Error::new(error).context("the runtime cannot be started")),
    };
    let done = runtime.block_on(run(cli));
    // A blocked thread (a read of a dead network drive, say) must not keep the program from ending.
    runtime.shutdown_background();
    match done {
        Ok(()) => Exit::Success.into(),
        Err(error) => exit::report(&error),
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let output = Output::new(cli.json);
    if !matches!(cli.command, Command::Serve(_) | Command::Worker(_)) {
        local::log_to_stderr();
    }
    match cli.command {
        Command::Serve(arguments) => serve::run(arguments, output).await,
        Command::Worker(arguments) => worker::run(arguments, output).await,
        Command::Ingest(arguments) => ingest::run(arguments, output).await,
        Command::Verify(arguments) => verify::run(arguments, output).await,
        Command::Demo(arguments) => demo::run(arguments, output).await,
        Command::Index(arguments) => index::run(arguments, output).await,
        Command::Contract(arguments) => contract::run(arguments, output).await,
        Command::Client(arguments) => client::run(arguments, output).await,
        Command::Webhook(arguments) => webhook::run(arguments, output).await,
        Command::Gateway(arguments) => gateway::run(arguments, output).await,
        Command::Package(arguments) => package::run(arguments, output).await,
        Command::Submission(arguments) => submission::run(arguments, output).await,
        Command::Deletion(arguments) => deletion::run(arguments, output).await,
        Command::Hold(arguments) => hold::run(arguments, output).await,
        Command::Events(arguments) => look::events(arguments, output).await,
        Command::Fixity(arguments) => fixity::run(arguments, output).await,
        Command::Audit(arguments) => audit::run(arguments, output).await,
        Command::Process(arguments) => process::run(arguments, output).await,
        Command::Queue(arguments) => queue::run(arguments, output).await,
        Command::Order(arguments) => remote::order::order(arguments, output).await,
        Command::Status(arguments) => remote::order::status(arguments, output).await,
        Command::Fetch(arguments) => remote::fetch::run(arguments, output).await,
        Command::Migrate(arguments) => migrate::run(arguments, output).await,
        Command::Sftp(arguments) => sftp::run(arguments, output).await,
        Command::Config(arguments) => config::run(arguments, output),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
