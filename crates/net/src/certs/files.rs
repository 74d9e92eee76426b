//! Reading and writing of PEM files: keys for their owner only, whole files or none.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::CertError;

/// Longest file that is read; a bundle of authorities is far shorter.
const FILE_BYTES_MAX: u64 = 1 << 20;

pub(super) fn read(path: &Path) -> Result<String, CertError> {
    let failed = |source: io::Error| match source.kind() == io::ErrorKind::NotFound {
        true => CertError::Missing { path: path.to_owned() },
        false => CertError::Read { path: path.to_owned(), source },
    };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > FILE_BYTES_MAX {
        let reason = format!("{length} bytes are more than {FILE_BYTES_MAX}");
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, reason)));
    }
    fs::read_to_string(path).map_err(failed)
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    Owner,
    All,
}

/// Refuses early what [`write()`] would refuse, so that no half of a pair is written.
pub(super) fn check_free(path: &Path, overwrite: bool) -> Result<(), CertError> {
    if !overwrite && path.exists() {
        return Err(CertError::Exists { path: path.to_owned() });
    }
    Ok(())
}

/// Writes a file whole: a reader sees the old content or the new one.
pub(super) fn write(
    path: &Path,
    content: &str,
    readers: Readers,
    overwrite: bool,
) -> Result<(), CertError> {
    let failed = |source| CertError::Write { path: path.to_owned(), source };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(parent).map_err(failed)?;
    let draft = draft_of(path);
    // A draft that a crash left behind is in the way of nobody else.
    match fs::remove_file(&draft) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let written = fill(&draft, content, readers).and_then(|()| publish(&draft, path, overwrite));
    if let Err(source) = written {
        if let Err(error) = fs::remove_file(&draft)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, draft = %draft.display(), "failed to remove a draft");
        }
        if source.kind() == io::ErrorKind::AlreadyExists {
            return Err(CertError::Exists { path: path.to_owned() });
        }
        return Err(failed(source));
    }
    fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".draft-{}", std::process::id()));
    path.with_file_name(name)
}

fn fill(draft: &Path, content: &str, readers: Readers) -> io::Result<()> {
    let mode = if readers == Readers::Owner { 0o600 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(draft)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

fn publish(draft: &Path, path: &Path, overwrite: bool) -> io::Result<()> {
    if overwrite {
        return fs::rename(draft, path);
    }
    // A link is made only where no file stands, whoever else may be writing.
    fs::hard_link(draft, path)?;
    fs::remove_file(draft)
}
