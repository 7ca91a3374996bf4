//! Files that are either the old one or the complete new one, whatever happens in between.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use tempfile::NamedTempFile;

/// The writer that the new content of a file goes to. It can write and seek.
pub type AtomicWriter = BufWriter<NamedTempFile>;

/// How the names of files begin that are not complete yet.
pub const PREFIX: &str = ".trm-";

/// Writes a file under a temporary name in the same folder, syncs it to disk and renames it to `path`.
///
/// # Errors
/// An error of the operating system. The file at `path` is then what it was before.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut AtomicWriter) -> io::Result<()>,
) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let temporary = builder.prefix(PREFIX).tempfile_in(folder)?;
    let mut writer = BufWriter::with_capacity(1 << 20, temporary);
    write(&mut writer)?;
    let temporary = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    // The rename itself lasts only once the folder is on disk too.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_atomically(&path, |file| file.write_all(b"old")).unwrap();
        let failed = write_atomically(&path, |file| {
            file.write_all(b"half of the new")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
