//! Writing to standard output and standard error, either of which may be a closed pipe or a full disk.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write as _, stderr, stdout},
    process::ExitCode,
};

use secrecy::{ExposeSecret as _, SecretString};

use super::Failure;
use crate::{domain::id::ApiKeyId, service::error::chain};

/// Prints a line of the command's output. `println!` would panic.
pub(super) fn print(line: &impl Display) -> Result<(), Failure> {
    write(line).map_err(Failure::Output)
}

/// Prints the id of what the command has created. If that fails, the message has the id.
pub(super) fn print_created(id: &impl Display) -> Result<(), Failure> {
    write(id).map_err(|source| Failure::CreatedOutput { id: id.to_string(), source })
}

/// Prints an API key, which cannot be shown again. If that fails, the message has its id.
pub(super) fn print_key(id: ApiKeyId, key: &SecretString) -> Result<(), Failure> {
    write(&key.expose_secret()).map_err(|source| Failure::KeyOutput { id, source })
}

fn write(line: &impl Display) -> io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Prints what clap calls an error: the help, the version or a wrong argument.
pub(super) fn print_usage(error: &clap::Error) -> ExitCode {
    match error.print().and_then(|()| stdout().flush()) {
        Err(source) if !error.use_stderr() => report(&Failure::Output(source)),
        _ => u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
    }
}

/// Reports a failure on standard error and returns the exit code. A reader that has closed the pipe wants no more output,
/// which is not a failure.
pub(super) fn report(failure: &Failure) -> ExitCode {
    if failure.is_closed_pipe() {
        return ExitCode::SUCCESS;
    }
    let _unwritable = writeln!(stderr(), "core-api: {}", chain(failure));
    ExitCode::FAILURE
}

impl Failure {
    /// Whether the reader of standard output has closed it.
    pub(super) fn is_closed_pipe(&self) -> bool {
        // Nobody has a key that could not be written, so that is a failure.
        matches!(self, Self::Output(error) | Self::CreatedOutput { source: error, .. } if error.kind() == ErrorKind::BrokenPipe)
    }
}
