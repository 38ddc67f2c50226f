//! The temporary folder, gone when this program is.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// A folder that is removed when it is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes it, in the system's temporary folder.
    pub fn make() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("core-api-bench-{}", std::process::id()));
        DirBuilder::new().mode(0o755).create(&path)?;
        let folder = Self(path);
        // The user that Postgres runs as must be able to pass through, whatever the umask.
        fs::set_permissions(&folder.0, Permissions::from_mode(0o755))?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}
