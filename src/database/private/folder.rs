//! The folder of a private Postgres: its owner, its lock and its socket.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    unistd::{Gid, Uid, User, chown},
};

use sha2::{Digest, Sha256};

use super::PrivateError;

/// The longest path of a Unix socket (Linux: 108 with its final NUL; macOS: 104).
const MAX_SOCKET_PATH: usize = 103;

/// How long to wait for another process that is stopping to release the folder.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// The user that Postgres runs as: the current one or, since Postgres refuses to run as root, another.
#[derive(Debug)]
pub(super) struct Owner {
    drop_to: Option<(Uid, Gid)>,
}

impl Owner {
    /// For root, the owner of the existing data, so that a folder keeps the user that created it; else a system user.
    pub(super) fn find(folder: &Path) -> Result<Self, PrivateError> {
        if !Uid::effective().is_root() {
            return Ok(Self { drop_to: None });
        }
        if let Some(data) = fs::metadata(folder.join("data")).ok().filter(|data| data.uid() != 0) {
            return Ok(Self { drop_to: Some((Uid::from_raw(data.uid()), Gid::from_raw(data.gid()))) });
        }
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Self { drop_to: Some((user.uid, user.gid)) })
            .ok_or(PrivateError::NoUser)
    }

    /// A command that runs as the owner.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.drop_to {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        command
    }

    /// Gives a folder to the owner and closes it to everyone else.
    fn hand_over(&self, folder: &Path) -> Result<(), PrivateError> {
        self.give(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(PrivateError::io(format!("making {} private", folder.display())))
    }

    /// Gives a file or folder to the owner.
    pub(super) fn give(&self, path: &Path) -> Result<(), PrivateError> {
        let Some((uid, gid)) = self.drop_to else { return Ok(()) };
        chown(path, Some(uid), Some(gid)).map_err(|errno| PrivateError::io(format!("chown of {}", path.display()))(errno.into()))
    }

    /// Whether the path is a real folder, not a link, that belongs to the owner or the current user.
    fn owns(&self, folder: &Path) -> bool {
        let owner = self.drop_to.map_or(Uid::effective(), |(uid, _)| uid);
        fs::symlink_metadata(folder)
            .is_ok_and(|found| found.is_dir() && (found.uid() == owner.as_raw() || found.uid() == Uid::effective().as_raw()))
    }

    /// Whether the owner may enter every ancestor of this folder.
    fn can_reach(&self, folder: &Path) -> bool {
        let Some((uid, gid)) = self.drop_to else { return true };
        folder.ancestors().skip(1).all(|above| {
            fs::metadata(above).is_ok_and(|above| {
                let bit = if above.uid() == uid.as_raw() {
                    0o100
                } else if above.gid() == gid.as_raw() {
                    0o010
                } else {
                    0o001
                };
                above.mode() & bit != 0
            })
        })
    }
}

/// A folder that is locked against other processes.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: Flock<File>,
}

impl Folder {
    /// Creates the folder, locks it and gives it to the owner. If the owner cannot reach it, opens a substitute.
    pub(super) fn open(wanted: &Path, owner: &Owner) -> Result<Self, PrivateError> {
        let absolute = std::path::absolute(wanted).map_err(PrivateError::io(format!("finding {}", wanted.display())))?;
        let path = if owner.can_reach(&absolute) { absolute } else { substitute(&absolute) };
        fs::create_dir_all(&path).map_err(PrivateError::io(format!("creating {}", path.display())))?;
        if !is_available(&path) {
            return Err(PrivateError::NotOurs(path));
        }
        let path = path.canonicalize().map_err(PrivateError::io(format!("finding {}", path.display())))?;
        let lock = lock(&path)?;
        owner.hand_over(&path)?;
        owner.give(&path.join("lock"))?;
        Ok(Self { path, lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub(super) fn into_lock(self) -> Flock<File> {
        self.lock
    }

    /// A private folder for the socket: inside this one, or in /tmp if that path would be too long.
    pub(super) fn socket(&self, owner: &Owner) -> Result<PathBuf, PrivateError> {
        let inside = self.path.join("socket");
        let socket = if inside.join(".s.PGSQL.5432").as_os_str().as_bytes().len() <= MAX_SOCKET_PATH {
            inside
        } else {
            PathBuf::from(format!("/tmp/core-api-{}", short_name(&self.path)))
        };
        match fs::create_dir(&socket) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(PrivateError::io(format!("creating {}", socket.display()))(error));
            }
            // Another user may have created it, or a link in its place.
            Err(_) if !owner.owns(&socket) => return Err(PrivateError::NotOurs(socket)),
            _ => owner.hand_over(&socket)?,
        }
        // This process holds the folder's lock, so the Postgres that created these is gone.
        for stale in [".s.PGSQL.5432", ".s.PGSQL.5432.lock"] {
            let _absent = fs::remove_file(socket.join(stale));
        }
        Ok(socket)
    }
}

/// Where the data goes if the user that Postgres runs as cannot reach the folder, as with root's home.
fn substitute(wanted: &Path) -> PathBuf {
    let path = PathBuf::from(format!("/var/lib/core-api/{}", short_name(wanted)));
    tracing::warn!(wanted = %wanted.display(), used = %path.display(), "the user that Postgres runs as cannot reach the data folder; using another");
    path
}

/// A name that depends only on the path. It must stay the same in every version of this program.
fn short_name(path: &Path) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(path.as_os_str().as_bytes())[..9])
}

/// Whether the folder is empty or already a data folder. A folder with other files is never taken over.
fn is_available(folder: &Path) -> bool {
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten().peekable();
    entries.peek().is_none() || entries.any(|entry| entry.file_name() == "lock")
}

fn lock(folder: &Path) -> Result<Flock<File>, PrivateError> {
    let path = folder.join("lock");
    let began = Instant::now();
    loop {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(PrivateError::io(format!("opening {}", path.display())))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, Errno::EWOULDBLOCK)) if began.elapsed() < LOCK_WAIT => sleep(Duration::from_millis(50)),
            Err((_, Errno::EWOULDBLOCK)) => return Err(PrivateError::InUse(folder.to_owned())),
            Err((_, errno)) => return Err(PrivateError::io(format!("locking {}", path.display()))(errno.into())),
        }
    }
}
