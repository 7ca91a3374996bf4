# Recipes for https://just.systems; each is one command that can also be typed.

torch_python := env("TRM_TORCH_VENV", env("HOME") / ".cache/trm/torch-venv") / "bin/python"

# list the recipes
default:
    @just --list

# build the program: target/release/trm
build:
    cargo build --release

# train for a few minutes on generated puzzles and solve one
quick:
    cargo run --release -- train --preset quick

# run the tests
test:
    cargo test --workspace

# format the code
format:
    cargo fmt --all

# every check a change has to pass, or those named: format clippy tests examples levels memory benches docs wasm32 pytorch golden
ci *checks:
    .ci/run {{ checks }}

# read the library's documentation
doc:
    cargo doc --no-deps --workspace --open

# speed of this machine next to what it can do at most
bench *options: build
    target/release/trm bench {{ options }}

# compare the speed with PyTorch's on this machine
compare *options: build
    python3 bench/compare_pytorch.py {{ options }}

# tables and pictures of scaling
scaling: build
    target/release/trm bench --scaling --output docs/scaling.md

# compare a model's 8-bit inference with ONNX Runtime's on this machine
bench-onnx model *options: build
    python3 bench/compare_onnx.py {{ model }} {{ options }}

# write the reference numbers of the tests again
golden:
    {{ torch_python }} crates/trm/tests/golden/generate.py
