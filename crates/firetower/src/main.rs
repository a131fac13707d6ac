//! The one binary: reads its arguments, starts a role or asks one, prints one error chain, picks the exit code.
//!
//! Exit codes: 0 fine, 1 failed, 2 wrong usage.

mod access;
mod arguments;
mod certs;
mod check;
mod client;
mod demo;
mod leash;
mod load;
mod open_files;
mod output;
mod protection;
mod roles;
mod run;
mod show;
mod stop;
mod store;
mod table;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    // Others bring a provider of their own; whichever is first stays.
    let is_first = rustls::crypto::ring::default_provider().install_default().is_ok();
    debug_assert!(is_first, "nothing runs before main");
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("firetower: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Secondary(arguments) => run::secondary(*arguments)?,
        Command::Primary(arguments) => run::primary(arguments)?,
        Command::Global(arguments) => run::global(arguments)?,
        Command::Agent(arguments) => run::agent(arguments)?,
        Command::Check(arguments) => return check::check(&arguments.what),
        Command::Status(arguments) => return show::status(&arguments),
        Command::Health(arguments) => show::health(&arguments)?,
        Command::Query(arguments) => show::query(&arguments)?,
        Command::Store { command } => return store::store(&command),
        Command::Certs(arguments) => certs::certs(&arguments)?,
        Command::Demo(arguments) => return demo::demo(arguments),
        Command::Leash(arguments) => return leash::leash(&arguments),
    }
    Ok(ExitCode::SUCCESS)
}
