//! A temporary folder that is removed when this program ends.

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
    /// Creates it in the system's temporary folder.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn create(name: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("core-api-{name}-{}", std::process::id()));
        DirBuilder::new().mode(0o755).create(&path)?;
        let folder = Self(path);
        // The user that Postgres runs as must have access, regardless of the umask.
        fs::set_permissions(&folder.0, Permissions::from_mode(0o755))?;
        Ok(folder)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}
