//! Files that are either the old one or the complete new one, whatever happens in between.
//!
//! What is no regular file, such as a device or a FIFO, is written to and stays what it is; a link is followed.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::NamedTempFile;

/// Where the new content goes: it can be written and sought in.
pub type AtomicWriter = BufWriter<NamedTempFile>;

/// What the names of unfinished files begin with.
const UNFINISHED: &str = ".trm-";
/// Most links that are followed, as Linux has it.
const MOST_LINKS: usize = 40;

/// Writes a file under a temporary name in the same folder, syncs it to disk and renames it into place. A link is followed;
/// into a device, a FIFO or an open descriptor the content is copied. Unfinished files that a killed run left in
/// the folder are removed.
///
/// # Errors
/// What the system says; the file at `path` is then what it was before, unless it is no regular file.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut AtomicWriter) -> io::Result<()>,
) -> io::Result<()> {
    if is_stream(path) {
        return copy_into(path, write);
    }
    let path = &target_of(path)?;
    let folder = folder_of(path);
    clean(folder);
    let mode = std::fs::metadata(path).ok().map(|found| found.permissions());
    let mut writer = BufWriter::with_capacity(1 << 20, unfinished(folder)?);
    write(&mut writer)?;
    let temporary = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    if let Some(mode) = mode {
        temporary.as_file().set_permissions(mode)?;
    }
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    // The rename itself lasts only once the folder is on disk too.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Finds out whether [`write_atomically`] could write to `path`, without changing anything there.
///
/// # Errors
/// A folder of that name, a folder that does not exist or cannot be written in, a device that cannot be.
pub fn check_writable(path: &Path) -> io::Result<()> {
    if is_stream(path) {
        // A FIFO is opened only once: opening it waits for a reader, and closing it ends what that reads.
        let waits = std::fs::metadata(path).is_ok_and(|found| !is_device(&found));
        return if waits { Ok(()) } else { OpenOptions::new().write(true).open(path).map(drop) };
    }
    let path = target_of(path)?;
    if path.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder: name a file in it"));
    }
    let folder = folder_of(&path);
    if !folder.is_dir() {
        let message = format!("there is no folder {}: make it with mkdir -p", folder.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    let failed =
        |e: io::Error| io::Error::new(e.kind(), format!("no file can be made in {}: {e}", folder.display()));
    unfinished(folder).map(drop).map_err(failed)
}

/// Whether two names are of one file.
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    let (Ok(found_a), Ok(found_b)) = (std::fs::metadata(a), std::fs::metadata(b)) else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        found_a.is_file() && (found_a.dev(), found_a.ino()) == (found_b.dev(), found_b.ino())
    }
    #[cfg(not(unix))]
    {
        found_a.is_file()
            && found_b.is_file()
            && std::fs::canonicalize(a).ok() == std::fs::canonicalize(b).ok()
    }
}

/// Whether what stands there is no file that could be replaced: a device, a FIFO, or an open descriptor's name.
fn is_stream(path: &Path) -> bool {
    let descriptor =
        ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"].iter().any(|name| path.starts_with(name));
    descriptor || std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

#[cfg(unix)]
fn is_device(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    found.file_type().is_char_device() || found.file_type().is_block_device()
}

#[cfg(not(unix))]
fn is_device(_: &std::fs::Metadata) -> bool {
    false
}

fn copy_into(path: &Path, write: impl FnOnce(&mut AtomicWriter) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 20, NamedTempFile::new()?);
    write(&mut writer)?;
    let mut temporary = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    temporary.seek(SeekFrom::Start(0))?;
    let mut stream = OpenOptions::new().append(true).open(path)?;
    io::copy(&mut temporary.as_file_mut().by_ref(), &mut stream).map(drop)
}

/// Where links lead, whether or not a file is there.
fn target_of(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        let Ok(target) = std::fs::read_link(&path) else { return Ok(path) };
        path = folder_of(&path).join(target);
    }
    Err(io::Error::other("too many links lead to one another"))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A new file that is locked as long as it is written.
fn unfinished(folder: &Path) -> io::Result<NamedTempFile> {
    loop {
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        let temporary = builder.prefix(UNFINISHED).tempfile_in(folder)?;
        // Where files cannot be locked, none is ever taken for left behind.
        let locked = temporary.as_file().try_lock();
        // Between its making and its lock another run may have taken it for left behind.
        if locked.is_err() || temporary.path().exists() {
            return Ok(temporary);
        }
    }
}

/// Removes unfinished files that nobody writes any more, once for each folder.
fn clean(folder: &Path) {
    static CLEANED: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);
    let Ok(mut cleaned) = CLEANED.lock() else { return };
    if !cleaned.get_or_insert_default().insert(folder.to_path_buf()) {
        return;
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_ours = path.file_name().and_then(|name| name.to_str()).is_some_and(is_unfinished);
        let left = || File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
        if is_ours && path.is_file() && left() {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Whether a file's name is one of those that unfinished files have: `.trm-` and six letters or digits.
pub fn is_unfinished(name: &str) -> bool {
    name.strip_prefix(UNFINISHED)
        .is_some_and(|rest| rest.len() == 6 && rest.bytes().all(|c| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

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
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_what_another_writes_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let other = unfinished(folder.path()).unwrap();
        for name in [".trm-abc123", ".trm-notes.txt", ".trm-abcdefg"] {
            std::fs::write(folder.path().join(name), b"half").unwrap();
        }
        write_atomically(&folder.path().join("file"), |file| file.write_all(b"new")).unwrap();
        let written = other.path().file_name().unwrap().to_str().unwrap().to_string();
        let mut expected = [".trm-abcdefg".to_string(), ".trm-notes.txt".into(), "file".into(), written];
        expected.sort();
        assert_eq!(names(folder.path()), expected);
    }

    #[test]
    fn what_cannot_be_written_is_told_beforehand_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        check_writable(&folder.path().join("new")).unwrap();
        assert!(names(folder.path()).is_empty());
        let error = |path: PathBuf| check_writable(&path).unwrap_err().to_string();
        assert!(error(folder.path().join("no/file")).contains("mkdir -p"));
        assert!(error(folder.path().to_path_buf()).contains("it is a folder"));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_and_pipes_stay_what_they_are() {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("elsewhere")).unwrap();
        for (link, target) in [("first", "second"), ("second", "elsewhere/file")] {
            symlink(target, path(link)).unwrap();
        }
        for text in [b"one".as_slice(), b"two"] {
            check_writable(&path("first")).unwrap();
            write_atomically(&path("first"), |file| file.write_all(text)).unwrap();
            assert_eq!(std::fs::read(path("elsewhere/file")).unwrap(), text);
        }
        assert!(path("first").is_symlink() && path("second").is_symlink());
        std::fs::set_permissions(path("elsewhere/file"), std::fs::Permissions::from_mode(0o600)).unwrap();
        write_atomically(&path("first"), |file| file.write_all(b"three")).unwrap();
        assert_eq!(std::fs::metadata(path("elsewhere/file")).unwrap().permissions().mode() & 0o777, 0o600);
        symlink("loop", path("loop")).unwrap();
        assert!(write_atomically(&path("loop"), |file| file.write_all(b"x")).is_err());

        symlink("/dev/null", path("null")).unwrap();
        for device in [path("null"), PathBuf::from("/dev/null")] {
            check_writable(&device).unwrap();
            write_atomically(&device, |file| file.write_all(b"nothing")).unwrap();
            assert!(std::fs::metadata(&device).unwrap().file_type().is_char_device(), "{device:?}");
        }
        let made = std::process::Command::new("mkfifo").arg(path("pipe")).status();
        if made.is_ok_and(|status| status.success()) {
            check_writable(&path("pipe")).unwrap();
            let reader = std::thread::spawn({
                let pipe = path("pipe");
                move || std::fs::read(pipe).unwrap()
            });
            write_atomically(&path("pipe"), |file| file.write_all(b"through")).unwrap();
            assert_eq!(reader.join().unwrap(), b"through");
            assert!(std::fs::metadata(path("pipe")).unwrap().file_type().is_fifo());
        }
        assert!(names(folder.path()).iter().all(|name| !name.starts_with(UNFINISHED)));
    }
}
