"""Loads what iota writes in transformers and PEFT and compares the numbers.

`make test-interop` runs it. Model folders (whole and in shards, f32 and bf16, three
architectures), adapters (with the head, with modules trained in full), a reward model, and the
folder that the stage `init` makes with its tokenizer. Without torch, transformers and peft it
says so and succeeds: nothing else of iota needs them.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

TOLERANCE = 1e-4

try:
    import peft
    import torch
    import transformers
    from safetensors.torch import load_file, save_file
except ImportError as error:
    print(f"interop: SKIPPED, {error.name} is not installed; "
          "`pip install torch transformers peft` and name that python in PYTHON=")
    sys.exit(0)

ROOT = pathlib.Path(__file__).resolve().parent.parent
failures = 0


def run(*command):
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def compare(what, found, expected):
    global failures
    worst = (found - expected).abs().max().item()
    good = found.shape == expected.shape and worst <= TOLERANCE
    failures += not good
    print(f"{'ok  ' if good else 'FAIL'} {what}: largest difference {worst:.1e} "
          f"of values up to {expected.abs().max().item():.1f}")


def ours(iota, folder, ids, scratch, adapter=None):
    """What `iota debug logits` says."""
    save_file({"ids": ids}, scratch / "ids.safetensors")
    more = ["--adapter", adapter] if adapter else []
    run(iota, "debug", "logits", "--model", folder, "--ids", scratch / "ids.safetensors",
        "--out", scratch / "logits.safetensors", *more)
    return load_file(scratch / "logits.safetensors")["logits"]


@torch.no_grad()
def main(iota):
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    # PEFT warns of adapted tied heads; here they are meant.
    warnings.simplefilter("ignore")
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, "
          f"peft {peft.__version__}")
    with tempfile.TemporaryDirectory() as directory:
        scratch = pathlib.Path(directory)
        run("cargo", "run", "--release", "--quiet",
            "--example", "interop", "--", scratch)
        ids = torch.tensor([json.loads((scratch / "ids.json").read_text())])
        for name in ["linear", "llama3", "qwen2"]:
            folder = scratch / name / "model"
            load = lambda: transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, attn_implementation="eager").eval()
            compare(name, ours(iota, folder, ids, scratch), load()(ids).logits)
            for adapter in ["all-linear", "some-and-head"]:
                path = scratch / name / adapter
                theirs = peft.PeftModel.from_pretrained(load(), path).eval()
                compare(f"{name} with {adapter}", ours(iota, folder, ids, scratch, path),
                        theirs(ids).logits)

        folder = scratch / "reward"
        base = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder / "model", dtype=torch.float32, attn_implementation="eager")
        theirs = peft.PeftModel.from_pretrained(base, folder / "adapter").eval()
        found = load_file(folder / "scores.safetensors")["scores"][:, -1:]
        compare("reward model with adapter and score", found, theirs(ids).logits)

        run(iota, "--artifacts", scratch / "artifacts", "run", "init", "--quiet",
            "--recipe", "tiny")
        folder = scratch / "artifacts/refs/tiny/init/model"
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        text = "def solve():\n    print(int(input()) + 1)\n"
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids[0]) == text, "the tokenizer does not give the text back"
        compare("stage init", ours(iota, folder, ids, scratch), theirs.eval()(ids).logits)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
