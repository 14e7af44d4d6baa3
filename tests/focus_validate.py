"""Has the FinOps Foundation's own validator read a run's FOCUS export. Not a test: it installs a package.

    python tests/focus_validate.py results/reference/quick-2core --instance m7i.4xlarge

`focus-validator` wants Python 3.12 and a NumPy and a pandas older than ours: it gets an environment of its own
(`--env`), which is kept. Ends with 1 where a rule fails that is not named below.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import api
from bench.reports import focus

VERSION = "1.2"  # of the specification: the validator's own default
# It asks for NumPy 1.26 and for any pyarrow, and newer ones of that want NumPy 2.
PACKAGES = ("focus-validator==2.2.1", "pyarrow<22")
# What holds of these lines. PUBLIC_PRICE_LIST_SUPPORTED would too, but then it also wants the columns of prices in
# other currencies; USAGE_MEASUREMENT_SUPPORTED, but then it fails on commitment columns that are not there.
CRITERIA = (
    "ACCOUNT_NAMING_SUPPORTED",
    "MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
    "REGION_SUPPORTED",
    "TAGGING_SUPPORTED",
)
# Wants InvoiceId to be there in every line, as its neighbour C-004 wants it never to be: it cannot tell which applies.
EXPECTED = {"InvoiceId-C-005-C"}


def main() -> int:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("run", type=Path)
    asked.add_argument("--instance", required=True)
    asked.add_argument("--region")
    asked.add_argument("--price-model")
    asked.add_argument("--python", default="python3.12", help="an interpreter that the validator runs on")
    asked.add_argument("--env", type=Path, default=Path(tempfile.gettempdir()) / "stepwatch-focus")
    given = asked.parse_args()
    run = api.load(given.run).reprice(instance=given.instance, region=given.region, price_model=given.price_model)
    env = given.env.resolve()
    if not (env / "bin/focus-validator").exists():
        subprocess.run([given.python, "-m", "venv", env], check=True)
        subprocess.run([env / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES], check=True)
    export = env / "export.csv"
    export.write_text(focus.render([run.report]), encoding="utf-8")
    (inside,) = env.glob("lib/python*/site-packages")  # from where it reads a file of its own by a relative path
    command = [env / "bin/focus-validator", "--data-file", export, "--validate-version", VERSION, "--block-download"]
    done = subprocess.run(
        [*command, "--applicability-criteria", ",".join(CRITERIA)], cwd=inside, capture_output=True, text=True
    )
    rules = re.findall(r"^\S+ ([\w-]+): (PASS|FAIL|SKIPPED)\b(.*)", done.stdout, re.MULTILINE)
    if done.returncode or not rules:
        print(done.stdout, done.stderr, sep="\n")
        return 1
    counts = Counter(verdict for _, verdict, _ in rules)
    print(f"{export}: {len(run.report.rows)} rows; rules: {dict(counts)}")
    for name, verdict, said in rules:
        if verdict == "FAIL":
            print(f"{'as expected' if name in EXPECTED else 'FAILS'}: {name}{said}")
    return int({name for name, verdict, _ in rules if verdict == "FAIL"} != EXPECTED)


if __name__ == "__main__":
    sys.exit(main())
