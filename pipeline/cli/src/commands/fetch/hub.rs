//! The Hugging Face hub over HTTP: what a revision holds, and one file, resumed.
//!
//! `GET /api/models/REPO/revision/REVISION?blobs=true` lists, `GET /REPO/resolve/COMMIT/PATH`
//! delivers. A download goes into `FILE.<blob>.part` beside its target, continues there with a
//! range request, and is renamed when size and SHA-256 (known for large files) are right. The
//! token goes to the endpoint only, never to the storage it redirects to.

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use ureq::{Agent, Body, config::RedirectAuthHeaders, http::Response};

/// How often a request is made before giving up; one that brought bytes does not count.
const ATTEMPTS: u32 = 5;

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Model,
    Dataset,
}

/// A repository on a server.
pub(super) struct Hub {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
    kind: Kind,
    repo: String,
}

/// A revision's commit and files.
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<RemoteFile>,
}

/// A file of a repository.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RemoteFile {
    pub(super) path: String,
    pub(super) bytes: Option<u64>,
    pub(super) sha256: Option<String>,
    /// The server's name of the content.
    pub(super) blob: Option<String>,
}

impl RemoteFile {
    /// Whether this content is at `path`, as far as is known of it.
    pub(super) fn is_whole(&self, path: &Path) -> Result<bool> {
        if !path.is_file() {
            return Ok(false);
        }
        let same_size = self.bytes == Some(fs_err::metadata(path)?.len());
        Ok(same_size && self.check(path).is_ok())
    }

    fn check(&self, path: &Path) -> Result<()> {
        if let Some(wanted) = self.bytes {
            let found = fs_err::metadata(path)?.len();
            ensure!(
                found == wanted,
                "{found} bytes arrived, {wanted} were announced"
            );
        }
        if let Some(wanted) = &self.sha256 {
            let mut hasher = Sha256::new();
            let mut file = fs_err::File::open(path)?;
            let mut buffer = vec![0; 1 << 20];
            loop {
                let read = file.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                hasher.update(&buffer[..read]);
            }
            let digits: Vec<String> = hasher
                .finalize()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let found = digits.concat();
            ensure!(
                &found == wanted,
                "what arrived has SHA-256 {found}, {wanted} was announced"
            );
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
}

impl Hub {
    /// The server and token that the environment names.
    pub(super) fn from_environment(kind: Kind, repo: &str) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        ensure!(
            !repo.is_empty() && repo.chars().all(plain) && !repo.contains(".."),
            "{repo:?} is no repository: OWNER/NAME is wanted"
        );
        let endpoint = std::env::var("HF_ENDPOINT").unwrap_or_default();
        let endpoint = match endpoint.trim_end_matches('/') {
            "" => "https://huggingface.co",
            named => named,
        };
        let token = std::env::var("HF_TOKEN").unwrap_or_default();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .user_agent(concat!("iota/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_per_read(Some(Duration::from_mins(1)))
            .build()
            .new_agent();
        Ok(Self {
            agent,
            endpoint: endpoint.to_owned(),
            token: Some(token).filter(|token| !token.is_empty()),
            kind,
            repo: repo.to_owned(),
        })
    }

    /// What a revision holds, by path.
    pub(super) fn list(&self, revision: &str) -> Result<Listing> {
        let kind = match self.kind {
            Kind::Model => "models",
            Kind::Dataset => "datasets",
        };
        let url = format!(
            "{}/api/{kind}/{}/revision/{}?blobs=true",
            self.endpoint,
            self.repo,
            escape(revision, false)
        );
        let mut response = self.get(&url, 0)?;
        let text = response
            .body_mut()
            .with_config()
            .limit(1 << 28)
            .read_to_string()
            .with_context(|| format!("reading {url}"))?;
        let answer: Answer =
            serde_json::from_str(&text).with_context(|| format!("{url} answers something else"))?;
        let mut files: Vec<RemoteFile> = answer
            .siblings
            .into_iter()
            .map(|sibling| RemoteFile {
                path: sibling.rfilename,
                bytes: sibling.size,
                sha256: sibling.lfs.and_then(|lfs| lfs.sha256),
                blob: sibling.blob_id,
            })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Listing {
            commit: answer.sha,
            files,
        })
    }

    /// Brings a file to `target`; how many bytes came over the wire.
    pub(super) fn download(&self, commit: &str, file: &RemoteFile, target: &Path) -> Result<u64> {
        let prefix = match self.kind {
            Kind::Model => "",
            Kind::Dataset => "datasets/",
        };
        let url = format!(
            "{}/{prefix}{}/resolve/{}/{}",
            self.endpoint,
            self.repo,
            escape(commit, false),
            escape(&file.path, true)
        );
        if let Some(parent) = target.parent() {
            fs_err::create_dir_all(parent)?;
        }
        let part = part_of(file, target);
        let mut fetched = 0;
        let mut failures = 0;
        while let Err(error) = self.go_on(&url, file, &part, &mut fetched, &mut failures) {
            if !error.is::<Broken>() || failures >= ATTEMPTS {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(100 << (2 * failures)));
        }
        if let Err(error) = file.check(&part) {
            fs_err::remove_file(&part)?;
            return Err(error.context("the download is damaged and was removed"));
        }
        fs_err::rename(&part, target)?;
        Ok(fetched)
    }

    /// Asks for what is missing of the part and appends it.
    fn go_on(
        &self,
        url: &str,
        file: &RemoteFile,
        part: &Path,
        fetched: &mut u64,
        failures: &mut u32,
    ) -> Result<()> {
        let mut have = part.metadata().map_or(0, |metadata| metadata.len());
        if file.bytes.is_none_or(|bytes| have > bytes) {
            have = 0;
        } else if file.bytes == Some(have) && have > 0 {
            return Ok(());
        }
        *failures += 1;
        let mut response = self.get(url, have)?;
        // A server that knows no ranges starts again.
        let resumed = response.status() == 206;
        let mut out = fs_err::OpenOptions::new()
            .create(true)
            .write(true)
            .append(resumed)
            .truncate(!resumed)
            .open(part)?;
        let mut body = response.body_mut().as_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = body.read(&mut buffer).map_err(|error| Broken {
                url: url.to_owned(),
                what: error.to_string(),
            })?;
            if read == 0 {
                break;
            }
            out.write_all(&buffer[..read])?;
            *fetched += read as u64;
            // Bytes that were there before are no progress.
            if resumed || have == 0 {
                *failures = 0;
            }
        }
        let found = fs_err::metadata(part)?.len();
        if file.bytes.is_some_and(|bytes| found < bytes) {
            bail!(Broken {
                url: url.to_owned(),
                what: format!("it ended after {found} bytes"),
            });
        }
        Ok(())
    }

    /// A successful answer, from byte `from` on.
    fn get(&self, url: &str, from: u64) -> Result<Response<Body>> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        let response = request.call().map_err(|error| Broken {
            url: url.to_owned(),
            what: error.to_string(),
        })?;
        let status = response.status().as_u16();
        match status {
            200 | 206 => Ok(response),
            401 | 403 => bail!(
                "{url} answers {status}: {} is private, gated or not there; accept its terms on \
                 its page and set HF_TOKEN{}",
                self.repo,
                if self.token.is_some() {
                    " to one that may read it"
                } else {
                    ""
                }
            ),
            404 => bail!("{url} answers 404: no such repository, revision or file"),
            429 | 500..=599 => bail!(Broken {
                url: url.to_owned(),
                what: format!("it answers {status}"),
            }),
            _ => bail!("{url} answers {status}"),
        }
    }
}

/// A failure that another attempt may not meet.
#[derive(Debug, thiserror::Error)]
#[error("{url} cannot be read: {what}; is the network there, and HF_ENDPOINT right?")]
struct Broken {
    url: String,
    what: String,
}

/// Where a download grows; of one content only, so that two revisions do not mix.
fn part_of(file: &RemoteFile, target: &Path) -> PathBuf {
    let name = target
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let content = file.sha256.as_ref().or(file.blob.as_ref());
    let blob: String = content
        .map(|id| {
            id.chars()
                .filter(char::is_ascii_alphanumeric)
                .take(16)
                .collect()
        })
        .unwrap_or_default();
    target.with_file_name(format!("{name}.{blob}.part"))
}

/// Percent-encodes what has a meaning in a URL.
fn escape(text: &str, keep_slashes: bool) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            b'/' if keep_slashes => "/".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
