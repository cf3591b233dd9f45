//! `iota serve`: OpenAI's protocol as clients meet it, limits, and a clean end.
//!
//! What `conforms` asks holds for vLLM too: `IOTA_VLLM_URL=http://HOST:PORT cargo test --release
//! -p iota --test serve -- --ignored` asks a real one, whatever model it has.
#![allow(clippy::unwrap_used, missing_docs)]

mod program;

use program::Program;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../stages/model/tests/fixtures")
}

/// A server with a model of the fixtures.
struct Server {
    child: Child,
    address: String,
    model: String,
    _program: Program,
}

impl Server {
    fn new(model: &Path, more: &[&str]) -> Self {
        Self::at("127.0.0.1:0", model, more)
    }

    fn at(address: &str, model: &Path, more: &[&str]) -> Self {
        let program = Program::new();
        let mut args = vec![
            "serve",
            "--address",
            address,
            "--model",
            model.to_str().unwrap(),
        ];
        args.extend(more);
        let mut child = program.start(&args);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let (address, model) = line.trim().split_once(" serves ").unwrap();
        Self {
            address: address.to_owned(),
            model: model.split(", ").next().unwrap().to_owned(),
            child,
            _program: program,
        }
    }

    fn llama(more: &[&str]) -> Self {
        Self::new(&fixtures().join("models/llama_ds"), more)
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        post(&self.address, path, body)
    }

    fn stop(&mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into()
}

fn post(address: &str, path: &str, body: &Value) -> (u16, Value) {
    let mut response = agent()
        .post(format!("{address}{path}"))
        .header("content-type", "application/json")
        .send(body.to_string())
        .unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    (
        response.status().as_u16(),
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

fn get(address: &str, path: &str) -> (u16, String) {
    let mut response = agent().get(format!("{address}{path}")).call().unwrap();
    (
        response.status().as_u16(),
        response.body_mut().read_to_string().unwrap(),
    )
}

/// The data of server-sent events.
fn events(address: &str, path: &str, body: &Value) -> Vec<String> {
    let mut response = agent()
        .post(format!("{address}{path}"))
        .header("content-type", "application/json")
        .send(body.to_string())
        .unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(str::to_owned).collect()
}

/// The text of a streamed answer, whose pieces have it at `place` of their choice.
fn streamed(address: &str, path: &str, body: &Value, place: &str) -> String {
    let data = events(address, path, &with(body, json!({"stream": true})));
    // The last event is no JSON: `[DONE]`.
    let pieces = data
        .iter()
        .filter_map(|text| serde_json::from_str(text).ok());
    let text = |piece: Value| Some(piece["choices"][0].pointer(place)?.as_str()?.to_owned());
    pieces.filter_map(text).collect()
}

fn with(base: &Value, more: Value) -> Value {
    let mut body = base.clone();
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// What sampling relies on, of any server.
fn conforms(address: &str, model: &str) {
    let (status, models) = get(address, "/v1/models");
    let models: Value = serde_json::from_str(&models).unwrap();
    assert_eq!((status, &models["object"]), (200, &json!("list")));
    assert!(
        models["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|m| m["id"] == model)
    );
    let base = json!({"model": model, "prompt": [5, 9, 77], "max_tokens": 12, "temperature": 1.0,
        "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "logprobs": 1,
        "return_token_ids": true, "seed": 40});
    let complete = |more: Value| {
        let (status, answer) = post(address, "/v1/completions", &with(&base, more));
        assert_eq!(status, 200, "{answer}");
        answer
    };
    // Sample i of a request has the seed that comes i after the request's.
    let four = complete(json!({"n": 4}));
    assert_eq!(four["object"], "text_completion");
    let choices = four["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 4);
    let mut tokens = 0;
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(choice["index"], index);
        assert_eq!(choice["prompt_token_ids"], json!([5, 9, 77]));
        let one = complete(json!({"n": 1, "seed": 40 + index}));
        assert_eq!(one["choices"][0]["token_ids"], choice["token_ids"]);
        assert_eq!(one["choices"][0]["text"], choice["text"]);
        let ids = choice["token_ids"].as_array().unwrap();
        let log_probs = choice["logprobs"]["token_logprobs"].as_array().unwrap();
        assert_eq!(ids.len(), log_probs.len());
        assert!(
            log_probs
                .iter()
                .all(|log_prob| log_prob.as_f64().unwrap() <= 0.0)
        );
        tokens += ids.len();
    }
    assert_eq!(four["usage"]["completion_tokens"], tokens);
    // Several prompts: choices go prompt by prompt.
    let two = complete(json!({"prompt": [[5, 9, 77], [8, 8]], "n": 2}));
    let two = two["choices"].as_array().unwrap();
    assert_eq!(two.len(), 4);
    assert_eq!(two[2]["prompt_token_ids"], json!([8, 8]));
    // Greedy, to the limit, and streamed: the pieces are the whole.
    let greedy = json!({"temperature": 0.0, "ignore_eos": true});
    let whole = complete(greedy.clone());
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    let ids = whole["choices"][0]["token_ids"].as_array().unwrap();
    assert_eq!(ids.len(), 12);
    let stream = with(
        &with(&base, greedy),
        json!({"stream": true, "logprobs": null}),
    );
    let mut data = events(address, "/v1/completions", &stream);
    assert_eq!(data.pop().as_deref(), Some("[DONE]"));
    let pieces: Vec<Value> = data
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    let text: String = pieces
        .iter()
        .filter_map(|piece| piece["choices"][0]["text"].as_str())
        .collect();
    assert_eq!(whole["choices"][0]["text"], text);
    // A stop token that is no end of sequence is named.
    let stop = json!({"temperature": 0.0, "ignore_eos": true, "stop_token_ids": [ids[3]]});
    let stopped = complete(stop);
    let found = stopped["choices"][0]["token_ids"].as_array().unwrap();
    assert!(found.len() <= 4 && stopped["choices"][0]["finish_reason"] == "stop");
    assert_eq!(stopped["choices"][0]["stop_reason"], ids[3]);
    // What cannot be.
    for (status, more) in [
        (400, json!({"max_tokens": 1_000_000})),
        (400, json!({"prompt": [100_000_000]})),
        (400, json!({"temperature": -1.0})),
        (404, json!({"model": "none of these"})),
    ] {
        let (found, answer) = post(address, "/v1/completions", &with(&base, more));
        assert_eq!(found, status, "{answer}");
        assert!(answer["error"]["message"].is_string());
    }
}

#[test]
fn serves_as_openai_and_vllm_do() {
    let mut server = Server::llama(&["--threads", "2"]);
    conforms(&server.address, &server.model);
    assert!(server.model.starts_with("iota-") && server.model.len() == 21);
    // The ids that transformers gives.
    let golden = fs_err::read_to_string(fixtures().join("generate/llama_ds.json")).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    for run in golden["runs"].as_array().unwrap() {
        let body = json!({"prompt": run["prompt_ids"], "max_tokens": 32, "temperature": 0,
            "return_token_ids": true});
        let (_, answer) = server.post("/v1/completions", &body);
        assert_eq!(answer["choices"][0]["token_ids"], run["new_ids"]);
    }
    // Stop strings: cut before, also where a stream would have sent half of one.
    let body = json!({"prompt": golden["runs"][0]["prompt_ids"], "max_tokens": 32, "temperature": 0,
        "ignore_eos": true});
    let (_, whole) = server.post("/v1/completions", &body);
    let text = whole["choices"][0]["text"].as_str().unwrap();
    let middle: String = text
        .chars()
        .skip(text.chars().count() / 2)
        .take(4)
        .collect();
    let stop = with(&body, json!({"stop": ["never there", middle]}));
    let (_, stopped) = server.post("/v1/completions", &stop);
    let before = text.split(&middle).next().unwrap();
    assert_eq!(stopped["choices"][0]["text"], before);
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    let streamed = streamed(&server.address, "/v1/completions", &stop, "/text");
    assert_eq!(streamed, before);
    let (status, metrics) = get(&server.address, "/metrics");
    assert_eq!(status, 200);
    assert!(
        metrics.contains("iota_requests_total{status=\"200\"}"),
        "{metrics}"
    );
    assert!(metrics.contains("iota_samples_queued 0"), "{metrics}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn limits_and_nonsense_are_answered() {
    let server = Server::llama(&["--max-queued", "8", "--max-body-kb", "2"]);
    let body = json!({"prompt": "a", "max_tokens": 2});
    for (status, path, more, says) in [
        (503, "/v1/completions", json!({"n": 9}), "too many"),
        (
            413,
            "/v1/completions",
            json!({"prompt": "long ".repeat(1000)}),
            "bytes",
        ),
        (
            400,
            "/v1/completions",
            json!({"max_tokens": 0}),
            "max_tokens is 0",
        ),
        (400, "/v1/completions", json!({"prompt": []}), "empty"),
        (
            400,
            "/v1/completions",
            json!({"logit_bias": {"5": 3}}),
            "`logit_bias` is not supported",
        ),
        (400, "/v1/completions", json!({"seed": -1}), "seed"),
        (400, "/v1/completions", json!({"stop": ""}), "stop string"),
        (
            404,
            "/v1/chat/completions",
            json!({"messages": []}),
            "no chat template",
        ),
        (404, "/v1/nothing", json!({}), "there is no"),
        (405, "/v1/models", json!({}), "does not take POST"),
    ] {
        let (found, answer) = server.post(path, &with(&body, more));
        assert_eq!(found, status, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
    }
    for (bytes, wanted) in [
        (
            &b"POST /v1/completions HTTP/1.1\r\ncontent-length: 5\r\n\r\n{\"a\":"[..],
            "400",
        ),
        (b"nonsense\r\n\r\n", "400"),
        (
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
            "411",
        ),
        ("a".repeat(40_000).as_bytes(), "431"),
    ] {
        let mut stream = TcpStream::connect(server.address.trim_start_matches("http://")).unwrap();
        // The server may answer and close before all is sent.
        let _ = stream.write_all(bytes);
        let mut answer = vec![0; 12];
        let read = stream.read_exact(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(read.is_err() || answer.ends_with(wanted), "{answer}");
    }
    // Still there.
    assert_eq!(server.post("/v1/completions", &body).0, 200);
}

#[test]
fn adapters_and_templates_are_served_beside_the_model() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let from = fixtures().join("models/llama_ds").join(file);
        fs_err::write(directory.path().join(file), fs_err::read(from).unwrap()).unwrap();
    }
    let template = "{% for m in messages %}[{{ m['role'].upper() }}] {{ m.content }}\n{% endfor %}";
    let config = json!({"chat_template": template}).to_string();
    fs_err::write(directory.path().join("tokenizer_config.json"), config).unwrap();
    let adapter = format!("tuned={}", fixtures().join("lora/all_linear").display());
    let server = Server::new(directory.path(), &["--adapter", &adapter, "--name", "base"]);
    let body = json!({"prompt": [5, 9, 77], "max_tokens": 12, "temperature": 0, "logprobs": 0});
    let log_probs = |model: &str| {
        let (status, answer) =
            server.post("/v1/completions", &with(&body, json!({"model": model})));
        assert_eq!(status, 200, "{answer}");
        answer["choices"][0]["logprobs"]["token_logprobs"].clone()
    };
    assert_ne!(log_probs("base"), log_probs("tuned"));
    let messages = json!([{"role": "user", "content": "add"}]);
    let ask = json!({"messages": messages, "max_tokens": 8, "temperature": 0});
    let (status, chat) = server.post("/v1/chat/completions", &ask);
    assert_eq!(
        (status, &chat["object"]),
        (200, &json!("chat.completion")),
        "{chat}"
    );
    let same = json!({"prompt": "[USER] add\n", "max_tokens": 8, "temperature": 0});
    let (_, plain) = server.post("/v1/completions", &same);
    let content = &chat["choices"][0]["message"]["content"];
    // The template's text has no token before it, a prompt of text has the tokenizer's.
    assert_eq!(
        chat["usage"]["prompt_tokens"].as_u64().unwrap() + 1,
        plain["usage"]["prompt_tokens"].as_u64().unwrap()
    );
    let streamed = streamed(
        &server.address,
        "/v1/chat/completions",
        &ask,
        "/delta/content",
    );
    assert_eq!(content, &streamed);
}

#[test]
fn a_model_without_tokenizer_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        let from = fixtures().join("models/llama_ds").join(file);
        fs_err::write(directory.path().join(file), fs_err::read(from).unwrap()).unwrap();
    }
    let program = Program::new();
    let output = program
        .command(&[
            "serve",
            "--address",
            "127.0.0.1:0",
            "--model",
            directory.path().to_str().unwrap(),
        ])
        .stdout(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(program::stderr(&output).contains("tokenizer.json"));
}

#[test]
fn sampling_asks_it() {
    let program = Program::new();
    program.succeed(&["run", "sft", "split", "--quiet"]);
    let refs = program.artifacts().join("refs/tiny");
    let server = Server::new(&fs_err::canonicalize(refs.join("sft/model")).unwrap(), &[]);
    let recipe = program.directory.path().join("served.toml");
    let text = format!(
        "seed = 3\n[sample]\ninputs = {{ model = \"file:{0}/sft/model\", problems = \
         \"file:{0}/split/test.parquet\" }}\nsamples = 6\nmax_new_tokens = 20\nengine = \"server\"\n\
         how = {{ servers = [\"{1}\"], samples_per_request = 4 }}\n",
        refs.display(),
        server.address
    );
    fs_err::write(&recipe, text).unwrap();
    let recipe = recipe.to_str().unwrap();
    let run = |cut: &str| {
        program.succeed(&[
            "run", "--quiet", "--recipe", recipe, "--force", "sample", "--set", cut,
        ]);
        program::digests(&program.succeed(&["ls", "--json", "--recipe", "served"]))
    };
    let whole = run("sample.how.samples_per_request=4");
    assert_eq!(whole.len(), 1);
    assert_eq!(run("sample.how.samples_per_request=1"), whole);
}

#[test]
fn a_server_killed_in_the_middle_of_an_answer_loses_nothing() {
    // A stream that ends without saying so is no answer.
    let mut server = Server::llama(&["--threads", "1"]);
    let endless = json!({"prompt": [5, 9, 77], "max_tokens": 200, "ignore_eos": true, "n": 64,
        "stream": true});
    let mut answer = agent()
        .post(format!("{}/v1/completions", server.address))
        .header("content-type", "application/json")
        .send(endless.to_string())
        .unwrap();
    let mut reader = BufReader::new(answer.body_mut().as_reader());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("data: {"), "{line}");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let mut rest = String::new();
    let read = reader.read_to_string(&mut rest);
    assert!(read.is_err() || !rest.contains("[DONE]"), "{rest}");

    // A run that asks goes on with the server that comes in its place.
    let program = Program::new();
    program.succeed(&["run", "split", "--quiet"]);
    let problems = program.artifacts().join("refs/tiny/split/test.parquet");
    let model = fs_err::canonicalize(fixtures().join("models/llama_ds")).unwrap();
    let server = Server::llama(&["--threads", "1", "--slots", "2"]);
    let recipe = program.directory.path().join("killed.toml");
    let text = format!(
        "seed = 3\n[sample]\ninputs = {{ model = \"file:{}\", problems = \"file:{}\" }}\n\
         samples = 1000\nmax_new_tokens = 60\ntemperature = 1.0\nengine = \"server\"\n\
         how = {{ servers = [\"{}\"], connections = 4 }}\n",
        model.display(),
        fs_err::canonicalize(problems).unwrap().display(),
        server.address
    );
    fs_err::write(&recipe, text).unwrap();
    let recipe = recipe.to_str().unwrap();
    let place = server.address.strip_prefix("http://").unwrap().to_owned();
    let run = program.start(&["run", "--quiet", "--recipe", recipe]);
    // Killed with answers under way.
    let drawn = || {
        let metrics = get(&server.address, "/metrics").1;
        let mut lines = metrics.lines();
        let line = lines.find_map(|line| line.strip_prefix("iota_generation_tokens_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    while drawn() < 2000 {}
    drop(server);
    let server = Server::at(&place, &model, &["--threads", "1"]);
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", program::stderr(&output));
    let list = || program::digests(&program.succeed(&["ls", "--json", "--recipe", "killed"]));
    let found = list();
    program.succeed(&["run", "--quiet", "--recipe", recipe, "--force", "sample"]);
    assert_eq!(list(), found);
    drop(server);
}

#[test]
#[ignore = "asks the server at IOTA_VLLM_URL"]
fn a_real_server_conforms() {
    let address = std::env::var("IOTA_VLLM_URL").expect("IOTA_VLLM_URL is set");
    let address = address.trim_end_matches('/').trim_end_matches("/v1");
    let models: Value = serde_json::from_str(&get(address, "/v1/models").1).unwrap();
    conforms(address, models["data"][0]["id"].as_str().unwrap());
}
