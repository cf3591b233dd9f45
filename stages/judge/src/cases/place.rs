//! What a case finds around the judge: files to steal, sockets to reach; removed afterwards.
//!
//! Used by `cases.rs`. Sockets listen on the loopback only, or on the paths a case names.

use anyhow::Context as _;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    net::{TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::PermissionsExt as _,
            net::{SocketAddr, UnixListener},
        },
    },
    path::PathBuf,
};

/// A case's wishes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Setup {
    pub(super) env: BTreeMap<String, String>,
    files: Vec<File>,
    files_in_judge_cwd: Vec<CwdFile>,
    listen_tcp: Option<String>,
    listen_udp: Option<String>,
    listenunix: Option<String>,
    listenunix_abstract: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    path: String,
    content: String,
    mode: Option<String>,
}

/// With its content, or only named.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum CwdFile {
    Whole(File),
    Named(String),
}

/// What is in place until this is dropped.
pub(super) struct Placed {
    files: Vec<PathBuf>,
    tcp: Option<TcpListener>,
    udp: Option<UdpSocket>,
    unix: Vec<UnixListener>,
}

impl Placed {
    /// Puts everything in place.
    pub(super) fn new(setup: &Setup) -> anyhow::Result<Self> {
        let mut placed = Self {
            files: Vec::new(),
            tcp: None,
            udp: None,
            unix: Vec::new(),
        };
        for file in &setup.files {
            placed.file(file)?;
        }
        for file in &setup.files_in_judge_cwd {
            let file = match file {
                CwdFile::Whole(file) => file.clone(),
                CwdFile::Named(path) => File {
                    path: path.clone(),
                    ..File::default()
                },
            };
            placed.file(&file)?;
        }
        if let Some(address) = &setup.listen_tcp {
            let listener = TcpListener::bind(address).context(address.clone())?;
            listener.set_nonblocking(true)?;
            placed.tcp = Some(listener);
        }
        if let Some(address) = &setup.listen_udp {
            let socket = UdpSocket::bind(address).context(address.clone())?;
            socket.set_nonblocking(true)?;
            placed.udp = Some(socket);
        }
        if let Some(path) = &setup.listenunix {
            // Left by a judge that was killed.
            let _ = fs_err::remove_file(path);
            let listener = UnixListener::bind(path).context(path.clone())?;
            placed.files.push(path.into());
            fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o777))?;
            placed.unix.push(listener);
        }
        if let Some(name) = &setup.listenunix_abstract {
            let address = SocketAddr::from_abstract_name(name.trim_start_matches(['@', '\0']))?;
            let listener = UnixListener::bind_addr(&address).context(name.clone())?;
            placed.unix.push(listener);
        }
        Ok(placed)
    }

    fn file(&mut self, file: &File) -> anyhow::Result<()> {
        fs_err::write(&file.path, &file.content)?;
        self.files.push(file.path.clone().into());
        let mode = file.mode.as_deref().unwrap_or("0644");
        let mode = u32::from_str_radix(mode, 8).with_context(|| format!("mode {mode}"))?;
        fs_err::set_permissions(&file.path, std::fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    /// Whether somebody connected to the TCP socket.
    pub(super) fn was_connected(&self) -> bool {
        self.tcp.as_ref().is_some_and(|tcp| tcp.accept().is_ok())
    }

    /// Whether something came to the UDP socket.
    pub(super) fn has_received(&self) -> bool {
        self.udp
            .as_ref()
            .is_some_and(|udp| udp.recv(&mut [0; 16]).is_ok())
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        for file in &self.files {
            // It may be the case's doing that it is gone.
            let _ = fs_err::remove_file(file);
        }
    }
}
