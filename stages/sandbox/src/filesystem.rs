//! The files of a container: a read-only view of the toolchain and one writable folder.
//!
//! Built once by init in its own mount namespace. Visible are the system's programs and
//! libraries, the folders named in the setup, a few devices and a `/proc` of the
//! container's own processes. No home, no `/etc` but what the loader needs. All that a
//! program can write lies on one small tmpfs, replaced by a fresh one when touched; files of
//! a request that was not are found there by the next request with the same ones.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt,
            fs::{FileExt, MetadataExt, PermissionsExt},
        },
    },
    path::{Path, PathBuf},
};

use fs_err as fs;
use rustix::{
    fs::{CWD, StatVfs, fstat, statvfs},
    mount::{
        MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
        mount_change, move_mount, open_tree, unmount,
    },
    process::{chdir, pivot_root},
};

use crate::{channel::Channel, kernel::add_mount_attributes};

/// Where a program starts; empty but for the files of the request.
pub(crate) const WORK: &str = "/box/rw/work";
/// The folder with all that is writable; Landlock's rule is on it, outlasting the tmpfs below.
pub(crate) const WRITABLE: &str = "/box";
/// Readable by mode but under no Landlock rule: what the self-test tries to open.
pub(crate) const UNLISTED: &str = "/unlisted";

const RW: &str = "/box/rw";
const RW_FOLDERS: [&str; 3] = [WORK, "/box/rw/tmp", "/box/rw/shm"];
const RW_OPTIONS: &std::ffi::CStr = c"mode=755,size=512m,nr_inodes=16384";

const SYSTEM: [&str; 10] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/localtime",
];
const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];
const LINKS: [(&str, &str); 6] = [
    ("/tmp", "/box/rw/tmp"),
    ("/dev/shm", "/box/rw/shm"),
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// The container's tree as init sees it after `build`.
pub(crate) struct Filesystem {
    /// Folders a program may read.
    pub(crate) readable: Vec<String>,
    /// Whether `/proc` could be mounted.
    pub(crate) has_proc: bool,
    /// Mounts a fresh tmpfs when asked.
    keeper: Channel,
    /// Whether files of a request may stay for the next: programs of init's own user could write
    /// to them, within one tick of the clock that their times are taken from.
    may_stay: bool,
    placed: Placed,
    /// How the writable folders looked with these files in them.
    untouched: State,
}

/// The files of a request in the working folder: names, and contents, which nobody can change.
#[derive(Default)]
struct Placed {
    names: Vec<Vec<u8>>,
    contents: Vec<OwnedFd>,
}

impl Placed {
    /// Whether these are the very same files; a content kept open here keeps its number.
    fn are(&self, names: &[Vec<u8>], contents: &[OwnedFd]) -> io::Result<bool> {
        if self.names != names || self.contents.len() != contents.len() {
            return Ok(false);
        }
        for (own, other) in self.contents.iter().zip(contents) {
            let (own, other) = (fstat(own)?, fstat(other)?);
            if (own.st_dev, own.st_ino) != (other.st_dev, other.st_ino) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What shows that a program has touched the writable folders.
#[derive(PartialEq)]
struct State {
    free_inodes: u64,
    free_blocks: u64,
    changed: Vec<(i64, i64)>,
}

impl State {
    /// Fails if one of the files in the working folder is gone.
    fn now(files: &[Vec<u8>]) -> io::Result<State> {
        let StatVfs {
            f_ffree, f_bfree, ..
        } = statvfs(RW)?;
        let mut changed = Vec::new();
        let files = files.iter().map(|name| in_work(name));
        for path in RW_FOLDERS.iter().map(PathBuf::from).chain(files) {
            let about = std::fs::symlink_metadata(path)?;
            changed.push((about.ctime(), about.ctime_nsec()));
        }
        Ok(State {
            free_inodes: f_ffree,
            free_blocks: f_bfree,
            changed,
        })
    }
}

impl Filesystem {
    /// Builds the tree and makes it the root; `shown` are pairs of source and target, `may_stay`
    /// says that programs are another user.
    pub(crate) fn build(
        shown: &[(PathBuf, PathBuf)],
        keeper: Channel,
        may_stay: bool,
    ) -> io::Result<Filesystem> {
        mount_change(
            "/",
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )?;
        let mut links: Vec<(PathBuf, PathBuf)> = Vec::new();
        let mut trees: Vec<(OwnedFd, PathBuf, bool)> = Vec::new();
        let mut readable = vec!["/proc".to_owned()];
        let own = SYSTEM
            .iter()
            .map(|path| (PathBuf::from(path), PathBuf::from(path)));
        for (source, target) in own.chain(shown.iter().cloned()) {
            let Ok(about) = fs::symlink_metadata(&source) else {
                continue;
            };
            if about.is_symlink() && source == target {
                links.push((target, fs::read_link(&source)?));
                continue;
            }
            let tree = clone_tree(&source)?;
            let attributes =
                libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
            add_mount_attributes(&tree, attributes, true)?;
            readable.push(target.to_string_lossy().into_owned());
            trees.push((tree, target, fs::metadata(&source)?.is_dir()));
        }
        for device in DEVICES {
            let tree = clone_tree(Path::new(device))?;
            add_mount_attributes(
                &tree,
                libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC,
                false,
            )?;
            trees.push((tree, PathBuf::from(device), false));
        }
        // Any folder does as the place of the new root: only this namespace sees it.
        let place = [
            std::env::temp_dir(),
            PathBuf::from("/tmp"),
            PathBuf::from("/"),
        ]
        .into_iter()
        .find(|place| place.is_dir())
        .unwrap_or_default();
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", &place, "tmpfs", flags, c"mode=755,size=1m")?;
        let inside = |path: &Path| place.join(path.strip_prefix("/").unwrap_or(path));
        for (tree, target, is_folder) in trees {
            let at = inside(&target);
            if is_folder {
                make_folders(&at)?;
            } else {
                make_folders(at.parent().unwrap_or(&place))?;
                fs::write(&at, "")?;
            }
            move_mount(&tree, "", CWD, &at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        }
        for (from, to) in LINKS
            .iter()
            .map(|(from, to)| (PathBuf::from(from), PathBuf::from(to)))
            .chain(links)
        {
            let at = inside(&from);
            make_folders(at.parent().unwrap_or(&place))?;
            fs_err::os::unix::fs::symlink(to, at)?;
        }
        let proc = inside(Path::new("/proc"));
        make_folders(&proc)?;
        let proc_flags = flags | MountFlags::NOEXEC;
        let has_proc = mount("proc", &proc, "proc", proc_flags, c"subset=pid").is_ok()
            || mount("proc", &proc, "proc", proc_flags, None).is_ok();
        let unlisted = inside(Path::new(UNLISTED));
        fs::write(&unlisted, "not for programs\n")?;
        fs::set_permissions(&unlisted, std::fs::Permissions::from_mode(0o644))?;
        make_folders(&inside(Path::new(RW)))?;
        chdir(&place)?;
        pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        chdir("/")?;
        let root = rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty())?;
        add_mount_attributes(&root, libc::MOUNT_ATTR_RDONLY, false)?;
        mount_writable()?;
        Ok(Filesystem {
            readable,
            has_proc,
            keeper,
            may_stay,
            placed: Placed::default(),
            untouched: State::now(&[])?,
        })
    }

    /// Has these files, and no others, in the working folder.
    pub(crate) fn place(&mut self, names: &[Vec<u8>], contents: &[OwnedFd]) -> io::Result<()> {
        if self.placed.are(names, contents)? {
            return Ok(());
        }
        if !self.placed.names.is_empty() {
            self.renew()?;
        }
        // Whatever fails below, what is there is not taken for fresh.
        self.placed.names.push(Vec::new());
        write_files(Path::new(WORK), names, contents)?;
        let contents: Result<_, _> = contents.iter().map(OwnedFd::try_clone).collect();
        self.untouched = State::now(names)?;
        self.placed = Placed {
            names: names.to_vec(),
            contents: contents?,
        };
        Ok(())
    }

    /// Replaces the writable tmpfs if a program changed anything on it.
    pub(crate) fn reset(&mut self) -> io::Result<()> {
        let files = &self.placed.names;
        let is_as_before = (self.may_stay || files.is_empty())
            && State::now(files).is_ok_and(|now| now == self.untouched);
        if is_as_before { Ok(()) } else { self.renew() }
    }

    fn renew(&mut self) -> io::Result<()> {
        self.keeper.send(b"renew", &[])?;
        match self.keeper.receive()? {
            Some((answer, _)) if answer == RENEWED => {}
            Some((reason, _)) => {
                let reason = String::from_utf8_lossy(&reason).into_owned();
                return Err(io::Error::other(format!("renewing {RW}: {reason}")));
            }
            None => return Err(io::Error::other("the keeper of the container ended")),
        }
        self.placed = Placed::default();
        self.untouched = State::now(&[])?;
        Ok(())
    }
}

/// The keeper's answer when all went well.
pub(crate) const RENEWED: &[u8] = b"renewed";

/// Puts a fresh tmpfs in the place of the writable one; the keeper's part.
pub(crate) fn renew() -> io::Result<()> {
    unmount(RW, UnmountFlags::DETACH)?;
    mount_writable()
}

/// Writes the files of a request into a folder.
pub(crate) fn write_files(
    folder: &Path,
    names: &[Vec<u8>],
    contents: &[OwnedFd],
) -> io::Result<()> {
    for (name, content) in names.iter().zip(contents) {
        let path = folder.join(OsStr::from_bytes(name));
        let from = std::fs::File::from(content.try_clone()?);
        // The descriptor's offset is shared with the judge, and with other workers.
        let mut bytes = vec![0; from.metadata()?.len() as usize];
        from.read_exact_at(&mut bytes, 0)?;
        fs::write(path, bytes)?;
    }
    Ok(())
}

fn in_work(name: &[u8]) -> PathBuf {
    Path::new(WORK).join(OsStr::from_bytes(name))
}

/// The host's own folders and devices that a program may read where there is no mount namespace.
pub(crate) fn of_the_host(shown: &[(PathBuf, PathBuf)]) -> (Vec<String>, &'static [&'static str]) {
    let own = SYSTEM.iter().map(PathBuf::from);
    let sources = shown.iter().map(|(source, _)| source.clone());
    let readable = own
        .chain(sources)
        .filter(|path| path.exists())
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    (readable, &DEVICES)
}

fn clone_tree(source: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, source, flags).map_err(|errno| {
        io::Error::new(errno.kind(), format!("show {}: {errno}", source.display()))
    })
}

/// As `create_dir_all`, but every new folder can be entered by the program's user.
fn make_folders(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|folder| !folder.exists())
        .collect();
    for folder in missing.into_iter().rev() {
        fs::create_dir(folder)?;
        fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn mount_writable() -> io::Result<()> {
    mount(
        "tmpfs",
        RW,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        RW_OPTIONS,
    )?;
    for path in RW_FOLDERS {
        fs::create_dir(path)?;
        fs::set_permissions(path, std::fs::Permissions::from_mode(0o777))?;
    }
    Ok(())
}
