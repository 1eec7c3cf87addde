#!/bin/sh
# Evaluate all judges on hidden train items: Scientific (titles), Toys (path codes only), the simulated store (known truth).
#
#     sh reproduction/judges.sh --dry-run --sample 4      # calls, tokens and hours
#     USERS=1000 sh reproduction/judges.sh                # studies/results/judges/*.md
#
# The splits are those of docs/results/baselines.md (data/scientific-split), studies/dtlns.yaml (data/toys-split), and of
# `hardneg data simulate --out data/store` and `hardneg data split data/store --out data/store-split`.
# Models are names or folders; MODELS_LARGE judge by prompts, MODELS_ALL by likelihood. Interrupted runs go on from the replies.
set -e
PYTHON=${PYTHON:-.venv/bin/python}
USERS=${USERS:-1000}
PRECISION=${PRECISION:-bfloat16}
MODELS_ALL=${MODELS_ALL:-smollm2-135m qwen2.5-coder-0.5b qwen2.5-coder-1.5b}
MODELS_LARGE=${MODELS_LARGE:-qwen2.5-coder-0.5b qwen2.5-coder-1.5b}
run() { "$PYTHON" reproduction/judges.py "$@"; }
for model in $MODELS_ALL; do
    run scientific data/scientific-split --judges likelihood --models "$model" --precision "$PRECISION" --users "$USERS" "$@"
    run store data/store-split --truth data/store --hidden 0.1 --judges likelihood --models "$model" --precision "$PRECISION" --users "$USERS" "$@"
done
for model in $MODELS_LARGE; do
    run scientific data/scientific-split --judges titles llm llm-logprob --models "$model" --precision "$PRECISION" --users "$USERS" "$@"
    run store data/store-split --truth data/store --hidden 0.1 --judges titles llm llm-logprob --models "$model" --precision "$PRECISION" --users "$USERS" "$@"
    run toys data/toys-split --judges llm llm-logprob --models "$model" --precision "$PRECISION" --users "$USERS" "$@"
done
