//! `iota fetch` against a hub that runs inside the test.
#![allow(clippy::unwrap_used, missing_docs)]

mod program;

use program::{Program, stderr};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::Output,
    sync::{Arc, Mutex},
};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// SHA-256 of `weights()`, by Python's hashlib.
const WEIGHTS_SHA256: &str = "e24bc62381f1224fbbb74688663f8f9743b9680b193edd666835e97b06e730eb";

fn weights() -> Vec<u8> {
    (0..200_000_u32).map(|i| (i % 251) as u8).collect()
}

#[derive(Clone, Debug)]
struct Request {
    path: String,
    headers: BTreeMap<String, String>,
}

struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Closes the connection after so many bytes of the body.
    cut: Option<usize>,
}

impl Reply {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            cut: None,
        }
    }
}

/// A server that answers by a function and remembers what it was asked.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `answer` gets the request and how many came before it.
    fn new(answer: impl Fn(&Request, usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let remembered = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read(&stream) else {
                    continue;
                };
                let before = {
                    let mut asked = remembered.lock().unwrap();
                    asked.push(request.clone());
                    asked.len() - 1
                };
                let reply = answer(&request, before);
                let length = reply.body.len();
                let headers: Vec<String> = reply
                    .headers
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}\r\n"))
                    .collect();
                let head = format!(
                    "HTTP/1.1 {} Some\r\nconnection: close\r\n{}content-length: {length}\r\n\r\n",
                    reply.status,
                    headers.concat()
                );
                let end = reply.cut.unwrap_or(reply.body.len());
                // The client may have gone away; that is its right.
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(&reply.body[..end]);
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_lowercase(), value.to_owned()))
        })
        .collect();
    Some(Request { path, headers })
}

/// What the hub says of a small repository.
fn listing() -> String {
    let weights = weights().len();
    serde_json::json!({
        "id": "owner/name",
        "sha": COMMIT,
        "siblings": [
            {"rfilename": ".gitattributes", "size": 3, "blobId": "a1"},
            {"rfilename": "config.json", "size": 2, "blobId": "a2"},
            {"rfilename": "model.safetensors", "size": weights, "blobId": "a3",
             "lfs": {"sha256": WEIGHTS_SHA256, "size": weights}},
            {"rfilename": "pytorch_model.bin", "size": 9, "blobId": "a4"},
            {"rfilename": "onnx/config.json", "size": 9, "blobId": "a5"},
        ],
    })
    .to_string()
}

/// The part of `body` that a request asks for.
fn ranged(request: &Request, body: &[u8]) -> Reply {
    let Some(range) = request.headers.get("range") else {
        return Reply::new(200, body);
    };
    let from: usize = range
        .strip_prefix("bytes=")
        .and_then(|range| range.strip_suffix('-'))
        .unwrap()
        .parse()
        .unwrap();
    let mut reply = Reply::new(206, &body[from..]);
    let last = body.len() - 1;
    let value = format!("bytes {from}-{last}/{}", body.len());
    reply.headers.push(("content-range".into(), value));
    reply
}

fn hub(request: &Request) -> Reply {
    let resolve = format!("/owner/name/resolve/{COMMIT}/");
    match request.path.as_str() {
        "/api/models/owner/name/revision/main?blobs=true" => Reply::new(200, listing()),
        path if path.strip_prefix(&resolve) == Some("config.json") => Reply::new(200, "{}"),
        path if path.strip_prefix(&resolve) == Some("model.safetensors") => {
            ranged(request, &weights())
        }
        _ => Reply::new(404, "Not found"),
    }
}

struct Scene {
    program: Program,
    server: Server,
}

impl Scene {
    fn new(answer: impl Fn(&Request, usize) -> Reply + Send + 'static) -> Self {
        Self {
            program: Program::new(),
            server: Server::new(answer),
        }
    }

    fn out(&self) -> PathBuf {
        self.program.directory.path().join("fetched")
    }

    fn fetch(&self, more: &[&str], environment: &[(&str, &str)]) -> Output {
        let out = self.out();
        let mut args = vec![
            "fetch",
            "owner/name",
            "--json",
            "--out",
            out.to_str().unwrap(),
        ];
        args.extend(more);
        let mut command = self.program.command(&args);
        for name in [
            "HF_TOKEN",
            "HF_HUB_OFFLINE",
            "http_proxy",
            "HTTP_PROXY",
            "ALL_PROXY",
        ] {
            command.env_remove(name);
        }
        command.env("HF_ENDPOINT", &self.server.address);
        command.envs(environment.iter().copied());
        command.output().unwrap()
    }

    #[track_caller]
    fn succeed(&self, more: &[&str], environment: &[(&str, &str)]) -> serde_json::Value {
        let output = self.fetch(more, environment);
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    fn fail(&self, more: &[&str], environment: &[(&str, &str)], words: &[&str]) {
        let output = self.fetch(more, environment);
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        for word in words {
            assert!(text.contains(word), "{text} does not say {word:?}");
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs_err::read_dir(self.out())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_model_is_fetched_once_and_found_again_offline() {
    let scene = Scene::new(|request, _| hub(request));
    let said = scene.succeed(&[], &[("HF_TOKEN", "secret")]);
    assert_eq!(said["commit"], COMMIT);
    assert_eq!(
        said["files"],
        serde_json::json!(["config.json", "model.safetensors"])
    );
    assert_eq!(said["fetched_bytes"], 200_002);
    let record = ".iota-fetch.json";
    assert_eq!(scene.names(), [record, "config.json", "model.safetensors"]);
    assert_eq!(
        fs_err::read(scene.out().join("model.safetensors")).unwrap(),
        weights()
    );
    for request in scene.server.asked() {
        assert_eq!(request.headers["authorization"], "Bearer secret");
        assert!(request.headers["user-agent"].starts_with("iota/"));
    }
    // Again: only the listing is asked for. Files that were changed are fetched again.
    let asked = scene.server.asked().len();
    assert_eq!(scene.succeed(&[], &[])["fetched_bytes"], 0);
    assert_eq!(scene.server.asked().len(), asked + 1);
    assert!(
        !scene.server.asked()[asked]
            .headers
            .contains_key("authorization")
    );
    let mut damaged = weights();
    damaged[77] ^= 1;
    fs_err::write(scene.out().join("model.safetensors"), damaged).unwrap();
    assert_eq!(scene.succeed(&[], &[])["fetched_bytes"], 200_000);

    let asked = scene.server.asked().len();
    let offline = [("HF_HUB_OFFLINE", "1")];
    assert_eq!(scene.succeed(&[], &offline)["fetched_bytes"], 0);
    assert_eq!(
        scene.succeed(&["--revision", COMMIT], &offline)["commit"],
        COMMIT
    );
    scene.fail(
        &["--revision", "dev"],
        &offline,
        &["HF_HUB_OFFLINE", "not owner/name at dev"],
    );
    fs_err::remove_file(scene.out().join("config.json")).unwrap();
    scene.fail(&[], &offline, &["config.json is missing"]);
    fs_err::remove_dir_all(scene.out()).unwrap();
    scene.fail(&[], &offline, &["HF_HUB_OFFLINE", "was not fetched before"]);
    assert_eq!(scene.server.asked().len(), asked, "offline asks nobody");
}

#[test]
fn a_download_goes_on_after_a_broken_connection_and_after_a_failed_run() {
    // Requests: 0 listing, 1 config, 2 weights, cut; 3 weights, cut; 4 weights, gone.
    let scene = Scene::new(|request, before| {
        let mut reply = hub(request);
        match before {
            2 => reply.cut = Some(70_000),
            3 => reply.cut = Some(50_000),
            4 => return Reply::new(404, ""),
            _ => {}
        }
        reply
    });
    scene.fail(&[], &[], &["404", "goes on from where it stopped"]);
    let names = scene.names();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[1].starts_with("model.safetensors.") && names[1].ends_with(".part"));
    assert_eq!(scene.succeed(&[], &[])["fetched_bytes"], 80_000);
    assert_eq!(
        fs_err::read(scene.out().join("model.safetensors")).unwrap(),
        weights()
    );
    let ranges: Vec<Option<String>> = scene
        .server
        .asked()
        .iter()
        .filter(|request| request.path.ends_with("model.safetensors"))
        .map(|request| request.headers.get("range").cloned())
        .collect();
    let from = |at: &str| Some(format!("bytes={at}-"));
    assert_eq!(
        ranges,
        [None, from("70000"), from("120000"), from("120000")]
    );
    assert!(scene.names().iter().all(|name| !name.ends_with(".part")));
}

#[test]
fn a_server_without_ranges_starts_again() {
    let scene = Scene::new(|request, before| {
        if !request.path.ends_with("model.safetensors") {
            return hub(request);
        }
        let mut reply = Reply::new(200, weights());
        reply.cut = (before == 2).then_some(70_000);
        reply
    });
    assert_eq!(scene.succeed(&[], &[])["fetched_bytes"], 270_002);
    assert_eq!(
        fs_err::read(scene.out().join("model.safetensors")).unwrap(),
        weights()
    );
}

#[test]
fn a_token_does_not_follow_a_redirect_to_another_server() {
    let storage = Server::new(|request, _| ranged(request, &weights()));
    let address = storage.address.clone();
    let scene = Scene::new(move |request, _| {
        if !request.path.ends_with("model.safetensors") {
            return hub(request);
        }
        let mut reply = Reply::new(302, "");
        let location = address.replace("127.0.0.1", "localhost") + "/blob";
        reply.headers.push(("location".into(), location));
        reply
    });
    scene.succeed(&[], &[("HF_TOKEN", "secret")]);
    assert_eq!(
        fs_err::read(scene.out().join("model.safetensors")).unwrap(),
        weights()
    );
    let asked = storage.asked();
    assert_eq!(asked.len(), 1);
    assert!(!asked[0].headers.contains_key("authorization"));
}

#[test]
fn what_cannot_be_fetched_says_why() {
    let wrong = Scene::new(|request, _| {
        let mut reply = hub(request);
        if request.path.ends_with("model.safetensors") {
            reply.body[5] ^= 1;
        }
        reply
    });
    wrong.fail(&[], &[], &["SHA-256", WEIGHTS_SHA256, "was removed"]);
    assert_eq!(wrong.names(), ["config.json"]);

    let gated = Scene::new(|_, _| Reply::new(401, ""));
    gated.fail(&[], &[], &["401", "set HF_TOKEN"]);
    gated.fail(&[], &[("HF_TOKEN", "x")], &["to one that may read it"]);
    let absent = Scene::new(|request, _| hub(request));
    absent.fail(&["--revision", "a/b"], &[], &["404", "revision/a%2Fb"]);
    absent.fail(
        &["--include", "*.gguf"],
        &[],
        &["no file of owner/name", "pytorch_model.bin"],
    );
    let text = listing().replace("model.safetensors", "model.h5");
    let other = Scene::new(move |_, _| Reply::new(200, text.as_str()));
    other.fail(&[], &[], &["no safetensors", "--include"]);
    let text = listing().replace("config.json", "../config.json");
    let escaping = Scene::new(move |_, _| Reply::new(200, text.as_str()));
    escaping.fail(&["--include", "*"], &[], &["leads out of the folder"]);
    let other = Scene::new(|_, _| Reply::new(200, "<html>"));
    other.fail(&[], &[], &["answers something else"]);
    let refused = Scene::new(|request, _| hub(request));
    let nobody = [("HF_ENDPOINT", "http://127.0.0.1:9")];
    refused.fail(&[], &nobody, &["127.0.0.1:9", "HF_ENDPOINT right?"]);
}

#[test]
fn a_data_set_is_taken_whole_or_by_pattern() {
    let scene = Scene::new(|request, _| {
        let files = serde_json::json!({"sha": COMMIT, "siblings": [
            {"rfilename": "README.md", "size": 2},
            {"rfilename": "data/test-0.parquet", "size": 4},
            {"rfilename": "data/train-0.parquet", "size": 4},
        ]});
        let resolve = format!("/datasets/owner/name/resolve/{COMMIT}/");
        match request.path.strip_prefix(&resolve) {
            Some("README.md") => Reply::new(200, "hi"),
            Some("data/test-0.parquet" | "data/train-0.parquet") => Reply::new(200, "PAR1"),
            _ if request.path.starts_with("/api/datasets/owner/name/") => {
                Reply::new(200, files.to_string())
            }
            _ => Reply::new(404, ""),
        }
    });
    let said = scene.succeed(&["--dataset", "--include", "data/train-*"], &[]);
    assert_eq!(said["files"], serde_json::json!(["data/train-0.parquet"]));
    let said = scene.succeed(&["--dataset"], &[]);
    assert_eq!(said["files"].as_array().unwrap().len(), 3);
    assert_eq!(said["fetched_bytes"], 6);
}
