//! `dipper hold`: legal holds, which keep packages from being deleted.

use clap::{Args, Subcommand};
use dipper_core::db::holds::{self, LegalHold};
use dipper_core::deletion::{Agent, holds as legal};
use serde_json::{Value, json};

use super::deletion::Operator;
use super::local::{LocalArguments, Missing};
use super::output::{Output, Table, time_or_dash, time_short};

#[derive(Debug, Args)]
pub(crate) struct HoldArguments {
    #[command(flatten)]
    local: LocalArguments,
    #[command(subcommand)]
    command: HoldCommand,
}

#[derive(Debug, Subcommand)]
enum HoldCommand {
    /// Keep a package, or all packages of a contract, from being deleted until the hold is lifted
    Set {
        /// The contract
        contract: String,
        /// The depositor's name for the package; all packages of the contract without it
        #[arg(long, value_name = "OBJECT_ID")]
        object_id: Option<String>,
        /// Why, as it is told to whoever wants to delete
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        operator: Operator,
    },
    /// Lift a hold
    Lift {
        /// The hold
        hold: String,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        operator: Operator,
    },
    /// List the holds that are in force
    List {
        /// On this contract alone
        #[arg(long)]
        contract: Option<String>,
        /// With those that were lifted
        #[arg(long)]
        all: bool,
    },
}

pub(crate) async fn run(arguments: HoldArguments, output: Output) -> anyhow::Result<()> {
    let installation = arguments.local.open(Missing::Refuse).await?;
    match arguments.command {
        HoldCommand::Set { contract, object_id, reason, operator } => {
            let agent: Agent = operator.agent()?;
            let hold = legal::set(&installation, &agent, &contract, object_id.as_deref(), &reason).await?;
            output.result(&hold_json(&hold), &format!("hold {} on {}\n", hold.id, covered(&hold)))
        }
        HoldCommand::Lift { hold, reason, operator } => {
            let hold = legal::lift(&installation, &operator.agent()?, &hold, reason.as_deref()).await?;
            output.result(&hold_json(&hold), &format!("hold {} on {} is lifted\n", hold.id, covered(&hold)))
        }
        HoldCommand::List { contract, all } => {
            let contract = contract.as_deref().map(|contract| [contract]);
            let contracts = contract.as_ref().map(|contract| contract.as_slice());
            let holds = holds::list(&installation.database, contracts, all).await?;
            let mut table = Table::new(&["hold", "contract", "package", "since", "by", "lifted", "reason"]);
            for hold in &holds {
                let package = hold.object_id.as_deref().unwrap_or("all");
                let (since, lifted) = (time_short(hold.created), time_or_dash(hold.lifted));
                table.row(&[&hold.id, &hold.contract_id, &package, &since, &hold.set_by, &lifted, &hold.reason]);
            }
            let listed: Vec<_> = holds.iter().map(hold_json).collect();
            output.result(&json!({ "holds": listed }), &table.text("no holds"))
        }
    }
}

fn covered(hold: &LegalHold) -> String {
    match &hold.object_id {
        Some(object_id) => format!("{object_id} of contract {}", hold.contract_id),
        None => format!("all packages of contract {}", hold.contract_id),
    }
}

fn hold_json(hold: &LegalHold) -> Value {
    json!({
        "holdId": hold.id,
        "contractId": hold.contract_id,
        "objectId": hold.object_id,
        "reason": hold.reason,
        "setBy": hold.set_by,
        "set": hold.created.to_string(),
        "lifted": hold.lifted.map(|lifted| lifted.to_string()),
        "liftedBy": hold.lifted_by,
        "liftReason": hold.lift_reason,
    })
}
