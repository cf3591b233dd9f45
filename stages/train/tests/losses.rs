//! The loss functions by themselves against TRL, PyTorch and exact arithmetic.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use train::dpo::loss::{Answer, Options, Variant, loss as dpo_loss};
use train::numerics::{log_sigmoid, log1mexp, log1mexp_derivative, sigmoid};
use train::orpo::loss::odds_ratio;
use train::ppo::advantage::{generalised, whiten};
use train::ppo::kl::{Controller, Penalty, k3};
use train::ppo::loss::{Options as PpoOptions, Token, loss as ppo_loss};
use train::ppo::score::rewards;
use train::reward::loss::loss as reward_loss;

fn json(relative: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    serde_json::from_slice(&fs_err::read(path.join(relative)).unwrap()).unwrap()
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// A number; those that JSON cannot write are strings.
fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("Infinity") => f64::INFINITY,
        Some("-Infinity") => f64::NEG_INFINITY,
        Some(_) => f64::NAN,
        None => value.as_f64().unwrap(),
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    rows(value).iter().map(number).collect()
}

#[track_caller]
fn close(found: f64, wanted: f64) {
    assert!(
        (found - wanted).abs() <= 1e-5 + 1e-5 * wanted.abs(),
        "{found} against {wanted}"
    );
}

#[track_caller]
fn exact(found: f64, wanted: f64) {
    assert!(
        found.to_bits() == wanted.to_bits() || (found - wanted).abs() <= 1e-13 * wanted.abs(),
        "{found:e} against {wanted:e}"
    );
}

#[test]
fn functions_of_log_probabilities_are_exact() {
    let golden = json("numerics.json");
    for row in rows(&golden["logsigmoid"]) {
        let x = number(&row["x"]);
        exact(log_sigmoid(x), number(&row["exact_f64"]));
        exact(sigmoid(-x), number(&row["grad_exact"]));
    }
    for row in rows(&golden["log1mexp"]) {
        let x = number(&row["x"]);
        exact(log1mexp(x), number(&row["exact_f64"]));
        exact(log1mexp_derivative(x), number(&row["grad_exact"]));
    }
    for row in rows(&golden["odds_ratio"]) {
        let found = odds_ratio(number(&row["logp_chosen"]), number(&row["logp_rejected"]));
        let wanted = number(&row["log_odds_ratio_exact"]);
        assert!((found.log_odds_ratio - wanted).abs() <= 1e-12 * wanted.abs().max(1.0));
        let wanted = number(&row["L_OR_exact"]);
        assert!((found.loss - wanted).abs() <= 1e-12 * wanted.abs().max(1e-3));
    }
}

fn answers(golden: &Value, side: &str) -> Vec<Answer> {
    let policy = numbers(&golden[format!("policy_{side}_logps")]);
    let reference = numbers(&golden[format!("ref_{side}_logps")]);
    let ids = rows(&golden["tokenized"]);
    (0..policy.len())
        .map(|index| Answer {
            policy: policy[index],
            reference: reference[index],
            tokens: rows(&ids[index][format!("{side}_ids")]).len(),
        })
        .collect()
}

fn variant(name: &str) -> Option<Variant> {
    serde_json::from_value(name.into()).ok()
}

#[test]
fn dpo_losses_are_those_of_trl() {
    let golden = json("dpo/dpo.json");
    let (chosen, rejected) = (answers(&golden, "chosen"), answers(&golden, "rejected"));
    let per_pair = |options: Options| -> Vec<f64> {
        let pairs = chosen.iter().zip(&rejected);
        pairs.map(|(&c, &r)| dpo_loss(options, c, r).loss).collect()
    };
    let options = |row: &Value, variant| Options {
        variant,
        beta: number(&row["beta"]),
        label_smoothing: row["label_smoothing"].as_f64().unwrap_or(0.0),
        nll_weight: 0.0,
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut seen = 0;
    for row in rows(&golden["cases"]) {
        // `bco_pair` carries a running mean from update to update and is not offered.
        let Some(variant) = variant(row["loss_type"].as_str().unwrap()) else {
            assert_eq!(row["loss_type"], "bco_pair");
            continue;
        };
        close(mean(&per_pair(options(row, variant))), number(&row["loss"]));
        seen += 1;
    }
    assert_eq!(seen, 16);
    for row in rows(&golden["old_trl_cases"]) {
        let options = options(row, variant(row["loss_type"].as_str().unwrap()).unwrap());
        for (found, wanted) in per_pair(options)
            .into_iter()
            .zip(numbers(&row["per_example"]))
        {
            close(found, wanted);
        }
        if options.variant == Variant::Ipo {
            // Its rewards there were of averages; here, as in later versions, they are of sums.
            continue;
        }
        let pairs = chosen
            .iter()
            .zip(&rejected)
            .zip(numbers(&row["chosen_rewards"]));
        for ((&c, &r), wanted) in pairs {
            close(dpo_loss(options, c, r).chosen_reward, wanted);
        }
    }
    for row in rows(&golden["ipo_sum"]) {
        close(
            mean(&per_pair(options(row, Variant::IpoSum))),
            number(&row["loss"]),
        );
    }
}

#[test]
fn orpo_odds_are_those_of_the_paper_read_either_way() {
    let golden = json("orpo/orpo.json");
    let mut forms = 0;
    for row in rows(&golden["raw"]) {
        let (chosen, rejected) = (numbers(&row["logp_chosen"]), numbers(&row["logp_rejected"]));
        let found: Vec<_> = chosen
            .iter()
            .zip(&rejected)
            .map(|(&c, &r)| odds_ratio(c, r))
            .collect();
        for (found, wanted) in found.iter().zip(numbers(&row["log_odds_ratio"])) {
            close(found.log_odds_ratio, wanted);
        }
        for (found, wanted) in found.iter().zip(numbers(&row["L_OR_per_example"])) {
            close(found.loss, wanted);
        }
        forms += 1;
    }
    assert_eq!(forms, 2);
}

#[test]
fn reward_losses_are_those_of_trl() {
    for row in rows(&json("rm/rm.json")["cases"]) {
        let (chosen, rejected) = (numbers(&row["chosen"]), numbers(&row["rejected"]));
        let centering = row["center_rewards_coefficient"].as_f64().unwrap_or(0.0);
        let margins = row["margin"].as_array().map(|_| numbers(&row["margin"]));
        let losses = (0..chosen.len()).map(|index| {
            let margin = margins.as_ref().map_or(0.0, |margins| margins[index]);
            reward_loss(chosen[index], rejected[index], margin, centering).loss
        });
        close(
            losses.sum::<f64>() / chosen.len() as f64,
            number(&row["loss"]),
        );
    }
}

/// The values of the unmasked tokens, a sequence each.
fn unmasked(values: &Value, mask: &Value) -> Vec<Vec<f64>> {
    let pairs = rows(values).iter().zip(rows(mask));
    pairs
        .map(|(row, mask)| {
            let kept = numbers(row).into_iter().zip(numbers(mask));
            kept.filter(|(_, mask)| *mask > 0.0)
                .map(|(value, _)| value)
                .collect()
        })
        .collect()
}

#[track_caller]
fn all_close(found: &[Vec<f64>], wanted: &[Vec<f64>]) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().flatten().zip(wanted.iter().flatten()) {
        close(*found, *wanted);
    }
}

#[test]
fn rewards_advantages_and_controller_are_those_of_trl() {
    let golden = json("ppo/units.json");
    let kept = |values: &Value| unmasked(values, &golden["mask"]);
    let (log_probs, reference) = (kept(&golden["logprobs"]), kept(&golden["ref_logprobs"]));
    let scores = numbers(&golden["scores"]);
    let coefficient = number(&golden["kl_coef"]);
    for (name, penalty) in [
        ("kl", Penalty::Kl),
        ("abs", Penalty::Abs),
        ("mse", Penalty::Mse),
    ] {
        let found: Vec<Vec<f64>> = (0..scores.len())
            .map(|i| {
                rewards(
                    &log_probs[i],
                    &reference[i],
                    scores[i],
                    penalty,
                    coefficient,
                )
            })
            .collect();
        all_close(&found, &kept(&golden["compute_rewards"][name]["rewards"]));
    }
    let estimated: Vec<Vec<f64>> = log_probs
        .iter()
        .zip(&reference)
        .map(|(l, r)| l.iter().zip(r).map(|(&l, &r)| k3(l, r)).collect())
        .collect();
    all_close(&estimated, &kept(&golden["kl_estimators"]["k3"]));

    let mut cases = 0;
    for row in rows(&golden["gae"]) {
        let mut rewards = kept(&golden["compute_rewards"]["kl"]["rewards"]);
        if row["whiten_rewards"] == true {
            whiten(&mut rewards, false);
        }
        let values = kept(&row["values_masked"]);
        let (gamma, lambda) = (number(&row["gamma"]), number(&row["lam"]));
        let mut advantages: Vec<Vec<f64>> = rewards
            .iter()
            .zip(&values)
            .map(|(rewards, values)| generalised(rewards, values, gamma, lambda))
            .collect();
        let wanted = kept(&row["advantages_raw"]);
        if row["whiten_rewards"] == true {
            // TRL whitens the zeros of the padding too, and what becomes of them flows back into
            // the row: only the row without padding is comparable, and only before whitening.
            all_close(&advantages[1..2], &wanted[1..2]);
        } else {
            all_close(&advantages, &wanted);
            whiten(&mut advantages, true);
            all_close(&advantages, &kept(&row["advantages_whitened"]));
        }
        cases += 1;
    }
    assert_eq!(cases, 10);
    for row in rows(&golden["whiten"]["cases"]) {
        let mut found = kept(&golden["whiten"]["x"]);
        whiten(&mut found, row["shift_mean"] == true);
        all_close(&found, &kept(&row["masked_whiten"]));
    }
    for row in rows(&golden["adaptive_kl"]) {
        let controller = Controller {
            target: Some(number(&row["target"])),
            horizon: number(&row["horizon"]),
        };
        let mut coefficient = number(&row["init"]);
        for step in rows(&row["trace"]) {
            let samples = step["n_steps"].as_u64().unwrap() as usize;
            coefficient = controller.next(coefficient, number(&step["current_kl"]), samples);
            exact(coefficient, number(&step["value"]));
        }
    }
}

#[test]
fn ppo_losses_and_their_derivatives_are_those_of_trl() {
    let golden = json("ppo/units.json");
    let kept = |values: &Value| unmasked(values, &golden["mask"]).concat();
    let gae = &golden["gae"][0];
    for row in rows(&golden["loss_cases"]) {
        let options = PpoOptions {
            clip: number(&row["cliprange"]),
            clip_value: number(&row["cliprange_value"]),
            value_coefficient: number(&row["vf_coef"]),
            ..PpoOptions::default()
        };
        let (new, old) = (kept(&row["new_logprobs"]), kept(&golden["logprobs"]));
        let (value, old_value) = (kept(&row["vpreds"]), kept(&gae["values_masked"]));
        let (advantage, target) = (kept(&gae["advantages_whitened"]), kept(&gae["returns"]));
        let tokens: Vec<Token> = (0..new.len())
            .map(|i| Token {
                log_prob: new[i],
                old_log_prob: old[i],
                value: value[i],
                old_value: old_value[i],
                advantage: advantage[i],
                target: target[i],
                ..Token::default()
            })
            .collect();
        let found = ppo_loss(&options, &tokens, tokens.len());
        let (sums, stats) = (found.sums, &row["stats"]);
        for (sum, name) in [
            (sums.policy, "loss/policy"),
            (sums.value, "loss/value"),
            (sums.total, "loss/total"),
            (sums.approximate_kl, "policy/approxkl"),
            (sums.policy_kl, "policy/policykl"),
            (sums.policy_clipped, "policy/clipfrac"),
            (sums.value_error, "val/error"),
            (sums.value_clipped, "val/clipfrac"),
        ] {
            close(sum / sums.tokens, number(&stats[name]));
        }
        let wide = |values: Vec<f32>| vec![values.into_iter().map(f64::from).collect()];
        all_close(&wide(found.d_log_probs), &[kept(&row["grad_new_logprobs"])]);
        all_close(&wide(found.d_values), &[kept(&row["grad_vpreds"])]);
    }
}
