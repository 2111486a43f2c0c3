//! Secure boot: the firmware's own word, from its variable (UEFI 2.10 section 3.3, "SecureBoot").

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::Verdict;

const EFI: &str = "sys/firmware/efi";
const VARIABLE: &str = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Attributes that the kernel puts before the value of a variable (efivarfs.rst).
const ATTRIBUTES: usize = 4;

pub(super) fn judge(root: &Path) -> Verdict {
    if !root.join(EFI).exists() {
        return Verdict::failed("this host was not booted by UEFI");
    }
    match fs::read(root.join(VARIABLE)) {
        Ok(bytes) => match bytes.get(ATTRIBUTES..) {
            Some([1]) => Verdict::passed("secure boot is on"),
            Some([0]) => Verdict::failed("secure boot is off: switch it on in the firmware's settings"),
            _ => Verdict::unknown("the firmware's SecureBoot variable has an unknown form"),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Verdict::failed("the firmware has no secure boot")
        }
        Err(error) => Verdict::unknown(format!("the firmware's SecureBoot variable cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    fn with(variable: Option<&[u8]>) -> Outcome {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join(EFI).join("efivars")).unwrap();
        if let Some(bytes) = variable {
            fs::write(root.path().join(VARIABLE), bytes).unwrap();
        }
        judge(root.path()).outcome
    }

    #[test]
    fn only_a_one_behind_the_attributes_is_on() {
        assert_eq!(with(Some(&[6, 0, 0, 0, 1])), Outcome::Passed);
        assert_eq!(with(Some(&[6, 0, 0, 0, 0])), Outcome::Failed);
        assert_eq!(with(None), Outcome::Failed);
        for odd in [&[][..], &[1], &[6, 0, 0, 0], &[6, 0, 0, 0, 2], &[6, 0, 0, 0, 1, 1]] {
            assert_eq!(with(Some(odd)), Outcome::Unknown, "{odd:?}");
        }
        assert_eq!(judge(Path::new("/nonexistent")).outcome, Outcome::Failed);
    }
}
