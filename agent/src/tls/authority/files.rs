//! The authority's directory: who may read it, how files get into it, and that two starts do not write at once.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::unistd::{Uid, User};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::AuthorityError;
use super::certificate::fingerprint;

/// The root certificate: what clients trust. It is renamed into place last, so its presence says the set is whole.
pub(crate) const ROOT: &str = "ca.pem";
/// The issuing certificate, and behind it its parts, one of which is sent along with every leaf.
pub(crate) const ISSUING: &str = "issuing.pem";
/// The issuing certificate's key, PKCS #8 PEM, mode 0600.
pub(crate) const KEY: &str = "issuing.key";
/// What the names of an authority begin with that is to follow the standing one.
const NEXT: &str = "next-";
const LOCK: &str = ".lock";
/// Certificates (never keys) of authorities that were replaced: they stay excluded upstream.
const RETIRED: &str = "retired-";
/// Retired authorities that are remembered, and octets of their files: a service manager hands a service 1 MiB of credentials in
/// all (systemd.exec(5)), and these are among them. The last one is remembered however large it is.
const RETIRED_MAX: usize = 64;
const RETIRED_OCTETS: u64 = 256 << 10;
/// Largest file that is read: a root with a thousand suffixes is below it.
const FILE_MAX: u64 = 1 << 20;
/// How long a start waits for another one that is making the authority.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(20);
const DIR_MODE: u32 = 0o700;
const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;
/// Bits that let anyone but the owner in.
const OTHERS: u32 = 0o077;
/// Bits that let anyone but the owner change names in a directory.
const OTHERS_WRITE: u32 = 0o022;

/// Where the files of an authority are, and by what names.
pub(crate) struct Names {
    dir: PathBuf,
    prefix: String,
    guarded: bool,
}

impl Names {
    pub(crate) fn plain(dir: &Path) -> Self {
        Self { dir: dir.into(), prefix: String::new(), guarded: false }
    }

    /// The authority that is to follow, in the same place.
    pub(crate) fn next(&self) -> Self {
        Self { dir: self.dir.clone(), prefix: format!("{}{NEXT}", self.prefix), guarded: self.guarded }
    }

    /// Files that somebody else keeps from other users, whatever their modes say: an access list shows in the mode.
    pub(crate) fn guarded(dir: &Path, prefix: &str) -> Self {
        Self { dir: dir.into(), prefix: prefix.into(), guarded: true }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{}{name}", self.prefix))
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn are_guarded(&self) -> bool {
        self.guarded
    }
}

/// The directory, held by one process at a time while this value lives.
pub(crate) struct Held {
    dir: PathBuf,
    _lock: File,
}

impl Held {
    /// Makes the directory if need be, checks that others cannot write to it, and takes the lock.
    pub(crate) fn take(dir: &Path) -> Result<Self, AuthorityError> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIR_MODE)
            .create(dir)
            .map_err(|error| AuthorityError::io(dir, error))?;
        let standing = fs::symlink_metadata(dir).map_err(|error| AuthorityError::io(dir, error))?;
        if standing.is_symlink() {
            // Whoever owns the directory above could have root write wherever it leads.
            return Err(AuthorityError::Elsewhere { path: dir.into() });
        }
        own(dir, dir).map_err(|error| AuthorityError::io(dir, error))?;
        let metadata = fs::metadata(dir).map_err(|error| AuthorityError::io(dir, error))?;
        if metadata.mode() & OTHERS_WRITE != 0 {
            return Err(AuthorityError::DirectoryOpen { path: dir.into(), mode: metadata.mode() & 0o7777 });
        }
        let path = dir.join(LOCK);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(KEY_MODE)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path);
        let lock = match lock {
            // Locking takes no right to write: an agent starts on a disk that became read-only.
            Err(error) if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => File::open(&path),
            Err(error) => Err(error),
            Ok(lock) => own(&path, dir).map(|()| lock),
        };
        let lock = lock.map_err(|error| AuthorityError::io(&path, error))?;
        let start = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => {
                    // Made by another version, or by an agent that had the key itself.
                    let names = [Names::plain(dir), Names::plain(dir).next()];
                    for path in names.iter().flat_map(|names| [ROOT, ISSUING, KEY].map(|name| names.at(name)))
                    {
                        match own(&path, dir) {
                            Ok(()) => {}
                            // Not there yet, or a disk that became read-only.
                            Err(error)
                                if matches!(
                                    error.kind(),
                                    io::ErrorKind::NotFound | io::ErrorKind::ReadOnlyFilesystem
                                ) => {}
                            Err(error) => return Err(AuthorityError::io(&path, error)),
                        }
                    }
                    return Ok(Self { dir: dir.into(), _lock: lock });
                }
                Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_WAIT => thread::sleep(LOCK_POLL),
                Err(TryLockError::WouldBlock) => return Err(AuthorityError::Locked { path }),
                Err(TryLockError::Error(error)) => return Err(AuthorityError::io(&path, error)),
            }
        }
    }

    /// Writes a whole new set; the root certificate last.
    pub(crate) fn write(
        &self,
        root_pem: &str,
        issuing_pem: &str,
        key_pem: &str,
    ) -> Result<(), AuthorityError> {
        self.replace(KEY, key_pem.as_bytes(), KEY_MODE)?;
        self.replace(ISSUING, issuing_pem.as_bytes(), CERTIFICATE_MODE)?;
        self.replace(ROOT, root_pem.as_bytes(), CERTIFICATE_MODE)
    }

    /// The same for a set that is to follow.
    pub(crate) fn write_next(
        &self,
        root_pem: &str,
        issuing_pem: &str,
        key_pem: &str,
    ) -> Result<(), AuthorityError> {
        self.replace(&format!("{NEXT}{KEY}"), key_pem.as_bytes(), KEY_MODE)?;
        self.replace(&format!("{NEXT}{ISSUING}"), issuing_pem.as_bytes(), CERTIFICATE_MODE)?;
        self.replace(&format!("{NEXT}{ROOT}"), root_pem.as_bytes(), CERTIFICATE_MODE)
    }

    /// Puts the set that is to follow in the place of the standing one. Begun again after a crash midway.
    pub(crate) fn promote(&self) -> Result<(), AuthorityError> {
        if present(&self.dir)? {
            self.retire()?;
        }
        for file in [KEY, ISSUING, ROOT] {
            let (from, to) = (self.dir.join(format!("{NEXT}{file}")), self.dir.join(file));
            match fs::rename(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && to.exists() => {}
                Err(error) => return Err(AuthorityError::io(&from, error)),
                Ok(()) => {}
            }
        }
        self.sync()
    }

    /// Deletes the set that is to follow.
    pub(crate) fn drop_next(&self) -> Result<(), AuthorityError> {
        for file in [ROOT, KEY, ISSUING] {
            let path = self.dir.join(format!("{NEXT}{file}"));
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(AuthorityError::io(&path, error));
                }
                _ => {}
            }
        }
        self.sync()
    }

    /// Puts the certificates of the standing set aside and deletes its key. After a crash midway there is no
    /// [`ROOT`], so the next start makes a new set, which is what was asked for.
    pub(crate) fn retire(&self) -> Result<(), AuthorityError> {
        let mut kept = String::new();
        let mut first = None;
        for file in [ROOT, ISSUING] {
            let path = self.dir.join(file);
            match read(&path) {
                Ok(bytes) => {
                    // What is damaged cannot be trusted by anyone either, so only what can be read is kept.
                    if let Ok(certificate) = CertificateDer::from_pem_slice(&bytes) {
                        first.get_or_insert_with(|| fingerprint(&certificate));
                        kept.push_str(first_of(&String::from_utf8_lossy(&bytes)));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(AuthorityError::io(&path, error)),
            }
        }
        if let Some(fingerprint) = first {
            let id: String = fingerprint.iter().take(8).map(|octet| format!("{octet:02x}")).collect();
            let name = format!("{RETIRED}{id}.pem");
            self.replace(&name, kept.as_bytes(), CERTIFICATE_MODE)?;
            self.forget_retired(&self.dir.join(name))?;
        }
        for file in [ROOT, KEY, ISSUING] {
            let path = self.dir.join(file);
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(AuthorityError::io(&path, error)),
            }
        }
        self.sync()
    }

    /// Deletes what is not remembered behind the one retired `last`, which is the newest whatever the clock says.
    fn forget_retired(&self, last: &Path) -> Result<(), AuthorityError> {
        let newest = retired_files(&self.dir).first().map(|file| (file.modified, file.path == last));
        if let Some((modified, false)) = newest {
            let later = modified + Duration::from_secs(1);
            let dated = File::options().write(true).open(last).and_then(|file| file.set_modified(later));
            dated.map_err(|error| AuthorityError::io(last, error))?;
        }
        for file in retired_files(&self.dir).iter().filter(|file| !file.remembered) {
            // One that stays is not read.
            let _ = fs::remove_file(&file.path);
        }
        Ok(())
    }

    /// A reader finds the old file or the new one, whole, also after a power cut.
    fn replace(&self, name: &str, content: &[u8], mode: u32) -> Result<(), AuthorityError> {
        let path = self.dir.join(name);
        let temporary = self.dir.join(format!(".{name}.new"));
        let put = || -> io::Result<()> {
            // One that a crash left may have any mode; the lock says that nobody is writing it now.
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
            // The umask may have taken bits; it cannot have added any.
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.write_all(content)?;
            own(&temporary, &self.dir)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        put().map_err(|error| AuthorityError::io(&path, error))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), AuthorityError> {
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|error| AuthorityError::io(&self.dir, error))
    }
}

/// Whom the package lets the agent run as. Its key is handed to its signer by the service manager, so that files stay
/// root's, and the agent reads the certificates as a member of its group.
const PACKAGED: &str = "portcullis";
const PACKAGED_DIR_MODE: u32 = 0o750;

/// Gives what root made to the owner of the directory above `dir`: the agent may run as a user of its own, and
/// administrators run the commands as root. What is the packaged agent's goes to root and its group.
fn own(made: &Path, dir: &Path) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let Some(above) = dir.parent().filter(|above| !above.as_os_str().is_empty()) else { return Ok(()) };
    let (above, standing) = (fs::metadata(above)?, fs::symlink_metadata(made)?);
    let user = User::from_uid(Uid::from_raw(above.uid())).ok().flatten();
    let packaged = user.is_some_and(|user| user.name == PACKAGED);
    let owner = if packaged { (0, above.gid()) } else { (above.uid(), above.gid()) };
    if (standing.uid(), standing.gid()) != owner {
        std::os::unix::fs::lchown(made, Some(owner.0), Some(owner.1))?;
    }
    if packaged && made == dir && standing.mode() & 0o7777 != PACKAGED_DIR_MODE {
        fs::set_permissions(made, fs::Permissions::from_mode(PACKAGED_DIR_MODE))?;
    }
    Ok(())
}

/// The first certificate in a text: parts of it have the same key and name.
fn first_of(pem: &str) -> &str {
    const END: &str = "-----END CERTIFICATE-----\n";
    pem.find(END).and_then(|at| pem.get(..at + END.len())).unwrap_or(pem)
}

/// Whether a whole set is to follow.
pub(crate) fn next_present(names: &Names) -> bool {
    names.next().at(ROOT).exists()
}

/// Whether a whole set stands in the directory.
pub(crate) fn present(dir: &Path) -> Result<bool, AuthorityError> {
    let root = dir.join(ROOT);
    root.try_exists().map_err(|error| AuthorityError::io(&root, error))
}

/// Reads one PEM certificate, and gives its text too.
pub(crate) fn certificate(path: &Path) -> Result<(CertificateDer<'static>, String), AuthorityError> {
    let bytes = read(path).map_err(|error| AuthorityError::io(path, error))?;
    match (CertificateDer::from_pem_slice(&bytes), String::from_utf8(bytes)) {
        (Ok(certificate), Ok(text)) => Ok((certificate, text)),
        _ => Err(AuthorityError::Unreadable { path: path.into() }),
    }
}

/// Reads the key's PEM, unless others could have read it before. `guarded`: somebody else sees to that.
pub(crate) fn key(path: &Path, guarded: bool) -> Result<zeroize::Zeroizing<String>, AuthorityError> {
    let failed = |error| AuthorityError::io(path, error);
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path).map_err(failed)?;
    // Asked of the open file, so that what was checked is what is read.
    let metadata = file.metadata().map_err(failed)?;
    if !guarded && metadata.mode() & OTHERS != 0 {
        return Err(AuthorityError::KeyOpen { path: path.into(), mode: metadata.mode() & 0o7777 });
    }
    let mut text = zeroize::Zeroizing::new(String::with_capacity(4096));
    file.take(FILE_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Certificates of the authorities that stood here before, newest first.
pub(crate) fn retired(dir: &Path) -> Vec<CertificateDer<'static>> {
    retired_files(dir)
        .iter()
        .filter(|file| file.remembered)
        .filter_map(|file| read(&file.path).ok())
        .flat_map(|bytes| CertificateDer::pem_slice_iter(&bytes).flatten().collect::<Vec<_>>())
        .collect()
}

/// The certificates of one of them.
struct Retired {
    modified: SystemTime,
    path: PathBuf,
    remembered: bool,
}

/// Newest first.
fn retired_files(dir: &Path) -> Vec<Retired> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(RETIRED))
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, entry.path(), metadata.len()))
        })
        .collect();
    files.sort_by(|a, b| b.cmp(a));
    let mut sum = 0_u64;
    let retired = |(place, (modified, path, octets)): (usize, (SystemTime, PathBuf, u64))| {
        sum = sum.saturating_add(octets);
        let remembered = place == 0 || place < RETIRED_MAX && sum <= RETIRED_OCTETS;
        Retired { modified, path, remembered }
    };
    files.into_iter().enumerate().map(retired).collect()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}
