//! The commands of bpf(2) that aya does not offer for cgroup links: create, update behind a pin, ask, pin, open a pin.
#![allow(
    unsafe_code,
    reason = "aya has no BPF_LINK_UPDATE for cgroup links and hides the descriptors of links"
)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

// Commands, linux/bpf.h.
const OBJ_PIN: libc::c_int = 6;
const OBJ_GET: libc::c_int = 7;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const LINK_CREATE: libc::c_int = 28;
const LINK_UPDATE: libc::c_int = 29;
/// BPF_LINK_TYPE_CGROUP.
const LINK_TYPE_CGROUP: u32 = 3;

/// The part of `union bpf_attr` for [`OBJ_PIN`] and [`OBJ_GET`].
#[repr(C)]
struct ObjectAttr {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The part for [`OBJ_GET_INFO_BY_FD`].
#[repr(C)]
struct InfoAttr {
    fd: u32,
    length: u32,
    info: u64,
}

/// The part for [`LINK_CREATE`] and, with other meanings, [`LINK_UPDATE`].
#[repr(C)]
struct LinkAttr {
    first: u32,
    second: u32,
    third: u32,
    fourth: u32,
}

/// `struct bpf_link_info` of a cgroup link.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    pad: u32,
    cgroup: u64,
    attach_type: u32,
    pad_end: u32,
}

/// What a cgroup link is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attachment {
    /// Inode of the cgroup's directory; 0 once the cgroup is gone.
    pub(super) cgroup: u64,
    pub(super) attach_type: u32,
}

/// Attaches a loaded program to a cgroup. Links of several owners coexist there.
pub(super) fn link_create(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach_type: u32,
) -> io::Result<OwnedFd> {
    let mut attr = LinkAttr { first: raw(program), second: raw(cgroup), third: attach_type, fourth: 0 };
    descriptor(call(LINK_CREATE, &mut attr)?)
}

/// Puts another program of the same kind behind a link, in one step: no packet or system call meets none.
pub(super) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkAttr { first: raw(link), second: raw(program), third: 0, fourth: 0 };
    call(LINK_UPDATE, &mut attr).map(drop)
}

/// What a link is attached to; `None` when it is no cgroup link.
pub(super) fn attachment(link: BorrowedFd<'_>) -> io::Result<Option<Attachment>> {
    let mut info = LinkInfo::default();
    let mut attr =
        InfoAttr { fd: raw(link), length: size_of::<LinkInfo>() as u32, info: (&raw mut info) as u64 };
    call(OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok((info.kind == LINK_TYPE_CGROUP)
        .then_some(Attachment { cgroup: info.cgroup, attach_type: info.attach_type }))
}

/// Gives an object a name on a BPF file system.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjectAttr { path: name.as_ptr() as u64, fd: raw(object), flags: 0 };
    call(OBJ_PIN, &mut attr).map(drop)
}

/// Opens a pinned object, whatever it is.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjectAttr { path: name.as_ptr() as u64, fd: 0, flags: 0 };
    descriptor(call(OBJ_GET, &mut attr)?)
}

fn raw(descriptor: BorrowedFd<'_>) -> u32 {
    // Descriptors in use are never negative.
    descriptor.as_fd().as_raw_fd() as u32
}

fn descriptor(result: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the command just made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

fn call<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the structures above are prefixes of `union bpf_attr` as the commands read them; what they point to lives
    // for the call, and the kernel writes no more than the length they give.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>() as libc::c_uint)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}
