//! What an earlier Postgres may have left in the folder after a kill -9: itself, or its pid file.

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

/// How long an orphan gets to end in order, then at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends an orphaned Postgres of this folder and removes the pid file that would keep a new one out.
///
/// Without `/proc` (macOS) the judgement is left to Postgres, which refuses to start beside a live one.
pub(super) fn end(folder: &Folder) -> Result<(), PrivateError> {
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
        let _gone = kill(Pid::from_raw(pid), signal);
        let began = Instant::now();
        while is_running_here(pid, folder) && began.elapsed() < PATIENCE {
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

/// A postmaster was started with its data folder as an argument, which anybody may read, and works in
/// it, which not everybody may see but which a moved folder does not change. A zombie has neither, and
/// a process that merely got the same number later has others.
fn is_running_here(pid: i32, folder: &Folder) -> bool {
    let data = folder.data();
    let works_here = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data);
    works_here
        || fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|arguments| arguments.split(|byte| *byte == 0).any(|argument| argument == data.as_os_str().as_bytes()))
}
