//! Cleans up after an earlier server that was killed: an orphaned Postgres, or its pid file.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{PrivateError, folder::Folder};

/// How long to wait for the orphan after each signal: a fast shutdown first, then an immediate one.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(10);

/// Stops an orphaned Postgres of this folder and removes the pid file that would block a new one.
///
/// Without `/proc` (macOS) it does nothing: Postgres itself refuses to start next to a live one.
pub(super) fn clean_up(folder: &Folder) -> Result<(), PrivateError> {
    let pid_file = folder.data().join("postmaster.pid");
    let Some(pid) = fs::read_to_string(&pid_file).ok().and_then(|text| text.lines().next()?.trim().parse::<i32>().ok()) else {
        return Ok(());
    };
    if !fs::exists("/proc/self").unwrap_or(false) {
        return Ok(());
    }
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        if !is_running_here(pid, folder) {
            break;
        }
        tracing::info!(pid, "stopping a Postgres that an earlier server left behind");
        let _already_gone = kill(Pid::from_raw(pid), signal);
        let began = Instant::now();
        while is_running_here(pid, folder) && began.elapsed() < SHUTDOWN_WAIT {
            sleep(Duration::from_millis(20));
        }
    }
    if is_running_here(pid, folder) {
        return Err(PrivateError::InUse(folder.path().to_owned()));
    }
    match fs::remove_file(&pid_file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PrivateError::io(format!("removing {}", pid_file.display()))(error)),
        _ => Ok(()),
    }
}

/// Whether the process is a postmaster of this folder. Its arguments name the data folder, and any user can read them.
/// Its working directory is the data folder, which is not always readable but follows a folder that moves. A zombie has
/// neither, and another process that reuses the pid has different ones.
fn is_running_here(pid: i32, folder: &Folder) -> bool {
    let data = folder.data();
    let works_here = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data);
    works_here
        || fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|arguments| arguments.split(|byte| *byte == 0).any(|argument| argument == data.as_os_str().as_bytes()))
}
