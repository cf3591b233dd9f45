//! The client against a server that answers by a rule, and breaks every rule in turn.
#![allow(clippy::unwrap_used, clippy::float_cmp, clippy::type_complexity)]

use crate::sample::tests::{quietly, sample, world};
use corpus::schema::Generation;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What the server does with a completion request that is the so-manieth; nothing closes.
type Rule = dyn Fn(usize, &Value) -> Option<(u16, String)> + Send + Sync;

struct Fake {
    address: String,
    /// Seeds that were answered with 200, one for each sample.
    seeds: Arc<Mutex<Vec<u64>>>,
}

/// Tokens that are a function of the seed.
fn tokens(seed: u64) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..=seed % 4)
        .map(|i| 10 + ((seed >> (8 * i)) % 200) as u32)
        .collect();
    ids.push(2);
    ids
}

fn completion(request: &Value) -> Value {
    let first = request["seed"].as_u64().unwrap();
    let choices: Vec<Value> = (0..request["n"].as_u64().unwrap())
        .map(|index| {
            let ids = tokens(first + index);
            let log_probs = vec![-0.5; ids.len()];
            json!({"index": index, "text": "?", "finish_reason": "stop", "stop_reason": null,
                   "token_ids": ids, "prompt_token_ids": request["prompt"],
                   "logprobs": {"token_logprobs": log_probs}})
        })
        .collect();
    json!({ "choices": choices })
}

impl Fake {
    fn new(rule: Box<Rule>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seeds = Arc::new(Mutex::new(Vec::new()));
        let (kept, rule) = (Arc::clone(&seeds), Arc::<Rule>::from(rule));
        let asked = Arc::new(AtomicUsize::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (kept, rule) = (Arc::clone(&kept), Arc::clone(&rule));
                let asked = Arc::clone(&asked);
                std::thread::spawn(move || answer(&stream.unwrap(), &*rule, &asked, &kept));
            }
        });
        Self { address, seeds }
    }
}

fn answer(mut stream: &TcpStream, rule: &Rule, asked: &AtomicUsize, kept: &Mutex<Vec<u64>>) {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let length = headers.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.parse::<usize>().unwrap())
    });
    let reply = if first.contains("/v1/models") {
        Some((200, json!({"data": [{"id": "fake"}]}).to_string()))
    } else {
        let mut body = vec![0; length.unwrap()];
        reader.read_exact(&mut body).unwrap();
        let request: Value = serde_json::from_slice(&body).unwrap();
        let reply = rule(asked.fetch_add(1, Ordering::SeqCst), &request);
        if let Some((200, _)) = &reply {
            let first = request["seed"].as_u64().unwrap();
            kept.lock()
                .unwrap()
                .extend((0..request["n"].as_u64().unwrap()).map(|i| first + i));
        }
        reply
    };
    let Some((status, text)) = reply else { return };
    // Status 0 is an answer of which the second half never comes.
    let (status, text, length) = match status {
        0 => (200, &text[..text.len() / 2], text.len()),
        _ => (status, &text[..], text.len()),
    };
    let head =
        format!("HTTP/1.1 {status} Some\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    let _ = stream.write_all([head.as_bytes(), text.as_bytes()].concat().as_slice());
}

fn settings(samples: u64, servers: &[&Fake], more: &str) -> String {
    let addresses: Vec<&str> = servers.iter().map(|fake| fake.address.as_str()).collect();
    format!(
        "samples = {samples}\nengine = \"server\"\n[sample.how]\nservers = {addresses:?}\n\
         model_name = \"fake\"\n{more}"
    )
}

fn fails(root: &Path, store: &str, settings: &str) -> String {
    let cancel = AtomicBool::new(false);
    let outcome = sample(root, store, settings, &engine::event::Silent, &cancel);
    let error: &dyn std::error::Error = &outcome.unwrap_err();
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[test]
fn cuts_failures_and_dead_servers_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    world(root);
    let plain = Fake::new(Box::new(|_, request| {
        Some((200, completion(request).to_string()))
    }));
    let (whole, rows) = quietly(root, "whole", &settings(40, &[&plain], ""));
    assert_eq!(rows.len(), 120);
    let answered: Vec<&Generation> = rows.iter().filter(|row| row.problem_id != "c").collect();
    assert!(
        answered
            .iter()
            .all(|row| row.finish == "stop" && row.token_ids.last() == Some(&2))
    );
    assert!(
        answered
            .iter()
            .all(|row| row.log_prob == -0.5 * row.token_ids.len() as f64)
    );
    let seeds = plain.seeds.lock().unwrap().clone();
    assert_eq!(seeds.len(), 80);
    // Other cuts; a server that is busy, breaks off, and fails in turns; one that dies for good.
    let moody = Fake::new(Box::new(|number, request| match number % 6 {
        0 => Some((503, "full".to_owned())),
        1 => None,
        2 => Some((500, "oh".to_owned())),
        3 => Some((0, completion(request).to_string())),
        4 => Some((429, "slower".to_owned())),
        _ => {
            // Choices come as they are ready.
            let mut answer = completion(request);
            answer["choices"].as_array_mut().unwrap().reverse();
            Some((200, answer.to_string()))
        }
    }));
    let dying = Fake::new(Box::new(|number, request| {
        (number < 3).then(|| (200, completion(request).to_string()))
    }));
    let both = settings(
        40,
        &[&moody, &dying],
        "samples_per_request = 7\nconnections = 3",
    );
    assert_eq!(quietly(root, "moody", &both).0, whole);
    // Every sample was answered once, by one of them.
    let mut again = moody.seeds.lock().unwrap().clone();
    again.extend(dying.seeds.lock().unwrap().iter());
    again.sort_unstable();
    let mut wanted = seeds;
    wanted.sort_unstable();
    assert_eq!(again, wanted);
}

#[test]
fn a_server_that_is_gone_leaves_what_is_missing_to_the_next_run() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    world(root);
    // Two problems are asked, 600 samples each: several shards.
    let dying = Fake::new(Box::new(|number, request| {
        (number < 60).then(|| (200, completion(request).to_string()))
    }));
    let how = "connections = 2";
    let said = fails(root, "store", &settings(600, &[&dying], how));
    assert!(said.contains("the same command goes on"), "{said}");
    let plain = Fake::new(Box::new(|_, request| {
        Some((200, completion(request).to_string()))
    }));
    let (whole, _) = quietly(root, "whole", &settings(600, &[&plain], how));
    let all = plain.seeds.lock().unwrap().len();
    plain.seeds.lock().unwrap().clear();
    assert_eq!(
        quietly(root, "store", &settings(600, &[&plain], how)).0,
        whole
    );
    let rest = plain.seeds.lock().unwrap().len();
    assert!(rest < all, "{rest} of {all} samples were drawn again");
}

#[test]
fn what_cannot_be_trusted_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    world(root);
    let cases: [(&str, fn(&mut Value)); 9] = [
        ("it does not know `n`", |choice| {
            choice["index"] = json!(1);
        }),
        ("answers no tokens", |choice| {
            choice["token_ids"] = json!([]);
            choice["finish_reason"] = "length".into();
        }),
        ("something else than a completion", |choice| {
            choice["token_ids"] = json!(["9", "2"]);
        }),
        ("return_token_ids", |choice| {
            choice["token_ids"] = Value::Null;
        }),
        ("another prompt", |choice| {
            choice["prompt_token_ids"] = json!([1, 2, 3]);
        }),
        ("another model", |choice| {
            choice["token_ids"] = json!([259, 2]);
        }),
        ("max_tokens", |choice| {
            choice["token_ids"] = json!(vec![9; 50]);
        }),
        ("logprobs", |choice| choice["logprobs"] = Value::Null),
        ("finish_reason", |choice| {
            choice["finish_reason"] = "abort".into();
        }),
    ];
    for (index, (wanted, change)) in cases.into_iter().enumerate() {
        let fake = Fake::new(Box::new(move |_, request| {
            let mut answer = completion(request);
            change(&mut answer["choices"][0]);
            Some((200, answer.to_string()))
        }));
        let said = fails(root, &format!("case{index}"), &settings(4, &[&fake], ""));
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let fewer = Fake::new(Box::new(|_, request| {
        let mut answer = completion(request);
        answer["choices"].as_array_mut().unwrap().pop();
        Some((200, answer.to_string()))
    }));
    let said = fails(root, "fewer", &settings(4, &[&fewer], ""));
    assert!(said.contains("it does not know `n`"), "{said}");
    for (number, (status, text, wanted)) in [
        (200, "<html>", "OpenAI-compatible"),
        (200, "{\"object\": \"error\"}", "OpenAI-compatible"),
        (400, "no such field", "it answers 400: no such field"),
        (404, "no such model", "it answers 404: no such model"),
    ]
    .into_iter()
    .enumerate()
    {
        let fake = Fake::new(Box::new(move |_, _| Some((status, text.to_owned()))));
        let said = fails(root, &format!("status{number}"), &settings(4, &[&fake], ""));
        assert!(said.contains(wanted), "{said}");
    }
    let plain = Fake::new(Box::new(|_, request| {
        Some((200, completion(request).to_string()))
    }));
    let other = settings(4, &[&plain], "").replace("\"fake\"", "\"\"");
    let said = fails(root, "name", &other);
    assert!(
        said.contains("it serves fake, not iota-") && said.contains("vllm serve"),
        "{said}"
    );
}
