"""Runs in shards on a server of S3. `python tests/faults/s3_runs.py --packages FOLDER`.

The server is moto, the client s3fs; both are installed apart from the packages of tagwise:
`pip install --target FOLDER 'moto[server]' s3fs`. Photos and results are in buckets. Complete runs,
runs whose server stands still for some seconds, and commands that are killed at random moments and
continued with --resume must have exactly one row per photo, equal to that of a plain run. Wrong
keys, accounts without rights and missing buckets must be refused in one line before the work.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from shard_kills import SIZE, prepare

from shard_outputs import assert_same, rows_of

ENGINES = {"processes": [], "Ray": ["--engine", "ray"]}
_READ, _WRITE = ["s3:ListBucket", "s3:GetObject"], ["s3:PutObject"]
RIGHTS = {  # actions of an account on the bucket of the photos, and on that of the results
    "all": (["s3:*"], ["s3:*"]),
    "objects": (_READ, _READ + _WRITE),
    "no-writing": (_READ, _READ),
    "no-reading": (["s3:ListBucket"], ["s3:*"]),
    "no-listing": (["s3:GetObject"], ["s3:*"]),
}


class S3:
    """A server of S3 in a process, with the buckets "photos" and "results", and accounts.

    packages: the folder with moto and s3fs. accounts: the environment of a client of each.
    """

    def __init__(self, packages: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        code = f"import moto.server; moto.server.main(['-H', '127.0.0.1', '-p', '{port}'])"
        environment = {**os.environ, "PYTHONPATH": packages, "INITIAL_NO_AUTH_ACTION_COUNT": "inf"}
        nowhere = subprocess.DEVNULL
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=nowhere, stderr=nowhere
        )
        self._wait()
        self._client("s3").create_bucket(Bucket="photos")
        self._client("s3").create_bucket(Bucket="results")
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), packages]))
        common = {"PYTHONPATH": path, "AWS_ENDPOINT_URL": self.address}
        common |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
        self.accounts = {name: {**common, **self._account(name)} for name in RIGHTS}

    def _wait(self) -> None:
        for _ in range(300):
            with suppress(OSError):
                urllib.request.urlopen(f"{self.address}/moto-api/").close()
                return
            time.sleep(0.2)
        raise SystemExit("the server did not start; see --packages")

    def _client(self, service: str) -> Any:
        import boto3

        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
        return boto3.client(service, endpoint_url=self.address, **keys)

    def _account(self, name: str) -> dict[str, str]:
        iam, statements = self._client("iam"), []
        for bucket, actions in zip(("photos", "results"), RIGHTS[name]):
            bucket = "*" if name == "all" else bucket
            resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
            statements.append({"Effect": "Allow", "Action": actions, "Resource": resources})
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }

    def fill(self, folder: Path) -> None:
        """Upload photos, in a folder whose name looks like a pattern, and manifests of them."""
        s3 = self._client("s3")
        names = sorted(path.name for path in folder.iterdir())
        for name in names:
            s3.upload_file(str(folder / name), "photos", f"in [1]/{name}")
        lines = ["image", *(f"s3://photos/in [1]/{name}" for name in names)]
        s3.put_object(Bucket="photos", Key="list.csv", Body="\n".join(lines).encode())
        lines.append("s3://photos/in [1]/nothing.png")
        s3.put_object(Bucket="photos", Key="missing.csv", Body="\n".join(lines).encode())

    def check_rights(self) -> None:
        """From now on, the server checks the keys and rights of each request."""
        request = urllib.request.Request(f"{self.address}/moto-api/reset-auth", b"0", method="POST")
        request.add_header("Content-Type", "text/plain")
        urllib.request.urlopen(request).close()

    def download(self, prefix: str, folder: Path) -> Path:
        """Copy a folder of results to this machine."""
        import boto3

        keys = self.accounts["all"]
        s3 = boto3.client(
            "s3",
            endpoint_url=self.address,
            region_name="us-east-1",
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        )
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket="results", Prefix=prefix):
            for entry in page.get("Contents", ()):
                path = folder / entry["Key"]
                path.parent.mkdir(parents=True, exist_ok=True)
                s3.download_file("results", entry["Key"], str(path))
        return folder / prefix


class Runs:
    """Commands on a server. faults: what was wrong. plain: the row of each photo."""

    def __init__(self, s3: S3, plain: dict[str, Any], seed: int) -> None:
        self.s3, self.rng, self.number = s3, np.random.default_rng(seed), 0
        self.faults: list[str] = []
        self.plain = {}
        for name, row in plain.items():
            address = name.replace("photos/", "s3://photos/in [1]/")
            if isinstance(row, dict):
                row = {**row, "image": {**row["image"], "file": address}}
            self.plain[address] = row if isinstance(row, dict) else row.replace(name, address)

    def start(
        self, engine: str, source: str, out: str, account: Mapping[str, str]
    ) -> subprocess.Popen[str]:
        """A command, which writes to a folder of the bucket of the results, or to an address."""
        command = [sys.executable, "-m", "tagwise", "predict", source, "--weights", "w.safetensors"]
        command += ["--out", out if "://" in out else f"s3://results/{out}", "--workers", "2"]
        command += ["--device", "cpu", "--precision", "fp32", "--shard-size", str(SIZE)]
        command += ["--resume", *ENGINES[engine]]
        pipe = subprocess.PIPE
        environment = {**os.environ, **account}
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)

    def check(self, process: subprocess.Popen[str], out: str) -> None:
        """Wait for a command, and compare its rows."""
        error = process.communicate()[1]
        if process.returncode != 1:  # two photos cannot be read
            self.faults.append(f"{out}: exit code {process.returncode}: {error[-300:]}")
        with tempfile.TemporaryDirectory() as folder:
            try:
                assert_same(rows_of(self.s3.download(out, Path(folder))), self.plain)
            except AssertionError as wrong:
                self.faults.append(f"{out}: {str(wrong).splitlines()[0]}")

    def new(self) -> str:
        self.number += 1
        return f"run {self.number}"

    def complete(self, engine: str, count: int) -> int:
        """Runs from a folder, a pattern and a manifest, by an account that may do just that."""
        for source in ("in [[]1]/*.png", "list.csv", "in [1]")[:count]:
            out = self.new()
            self.check(
                self.start(engine, f"s3://photos/{source}", out, self.s3.accounts["objects"]), out
            )
        return min(count, 3)

    def killed(self, engine: str, count: int) -> int:
        """Commands that are killed at random moments and continued."""
        done = 0
        while done < count:
            out = self.new()
            for _ in range(min(int(self.rng.integers(1, 4)), count - done)):
                process = self._start(engine, out)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(self.rng.uniform(3, 20))
                if process.poll() is None:
                    process.kill()
                    done += 1
                process.communicate()
            self.check(self._start(engine, out), out)
        return done

    def standing_still(self, engine: str, count: int) -> int:
        """Runs during which the server stands still for up to eight seconds."""
        for _ in range(count):
            out = self.new()
            process = self._start(engine, out)
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.rng.uniform(3, 12))
            self.s3.process.send_signal(signal.SIGSTOP)
            time.sleep(self.rng.uniform(1, 8))
            self.s3.process.send_signal(signal.SIGCONT)
            self.check(process, out)
        return count

    def refused(self, engine: str, count: int) -> int:
        """What cannot work is refused in one line, and leaves nothing behind."""
        accounts, photos = self.s3.accounts, "s3://photos/in [1]"
        all_rights = accounts["all"]
        nobody = {**all_rights, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        nowhere = {**all_rights, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
        cases = (
            ("no right to list", photos, "a", accounts["no-listing"], "permission denied"),
            ("no right to read", photos, "a", accounts["no-reading"], "permission denied"),
            ("no right to write", photos, "a", accounts["no-writing"], "permission denied"),
            ("wrong key", photos, "a", {**all_rights, "AWS_ACCESS_KEY_ID": "x"}, "denied"),
            ("wrong secret", photos, "a", {**all_rights, "AWS_SECRET_ACCESS_KEY": "x"}, "denied"),
            ("no keys", photos, "a", nobody, "credentials"),
            ("no server", photos, "a", nowhere, "Could not connect"),
            ("no bucket", "s3://photoz/in", "a", all_rights, "no such file or bucket"),
            (
                "no bucket of results",
                photos,
                "s3://resultz/a",
                all_rights,
                "no such file or bucket",
            ),
            ("a missing photo", "s3://photos/missing.csv", "a", all_rights, "1 of the"),
        )
        for name, source, out, account, words in cases[:count]:
            process = self.start(engine, source, out, account)
            error = process.communicate()[1]
            if process.returncode != 2 or words not in error or error.count("\n") != 1:
                self.faults.append(f"{name}: exit code {process.returncode}: {error[-300:]}")
        with tempfile.TemporaryDirectory() as folder:
            if self.s3.download("a", Path(folder)).exists():
                self.faults.append("a refused command left files")
        return min(count, len(cases))

    def _start(self, engine: str, out: str) -> subprocess.Popen[str]:
        return self.start(engine, "s3://photos/list.csv", out, self.s3.accounts["objects"])


CASES: dict[str, Callable[[Runs, str, int], int]] = {
    "complete": Runs.complete,
    "commands killed": Runs.killed,
    "server stands still": Runs.standing_still,
    "refused": Runs.refused,
}


def main() -> int:
    """Print what was tried, how often, and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", required=True, help="the folder with moto and s3fs")
    parser.add_argument("--count", type=int, default=20, help="of each, as far as there are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=list(ENGINES), help="both by default")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    options = parser.parse_args()
    sys.path.append(options.packages)
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        plain = prepare(Path(name), 28)
        s3 = S3(options.packages)
        try:
            s3.fill(Path(name, "photos"))
            s3.check_rights()
            runs = Runs(s3, plain, options.seed)
            for engine in (options.engine,) if options.engine else ENGINES:
                for case in (case for case in CASES if options.only in case):
                    before = len(runs.faults)
                    done = CASES[case](runs, engine, options.count)
                    faults = runs.faults[before:]
                    print(f"{engine}: {case:24}{done:5}{len(faults):5} faults", flush=True)
                    print("".join(f"    {fault}\n" for fault in faults), end="", flush=True)
        finally:
            s3.process.kill()
            s3.process.wait()
    return 1 if runs.faults else 0


if __name__ == "__main__":
    sys.exit(main())
