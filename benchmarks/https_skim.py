"""How fast files are skimmed over https, beside the same files on this machine.

    python benchmarks/https_skim.py FILE [--files 20] [--events 5000] [--repeat 5]

FILE is a real AODSIM file. A process serves two kinds of files with TLS on the loopback: copies of FILE, whose
many branches take long to open, and files of `--events` events as `benchmarks/aodsim.py` makes them, whose
events take long to read. A file of the portal has both. Prints the seconds of a skim of all files, local and
over https in turn, the median of each, and the rate over https as a part of the local one.
"""

import argparse
import multiprocessing
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.aodsim import repeat
from e2e_jax.sources.opendata.skim import SkimTask, skim_file
from tests.http_server import http_server, write_certificate


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="a real AODSIM file")
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        shutil.copy(arguments.file, folder / "real.root")
        repeat(arguments.file, str(folder / "events.root"), arguments.events)
        os.environ["REQUESTS_CA_BUNDLE"] = str(write_certificate(folder / "certificate.pem"))
        urls = multiprocessing.Queue()
        server = multiprocessing.Process(target=serve, args=(folder, urls), daemon=True)
        server.start()
        url = urls.get()
        print(f"{'files':<14}{'local s':>10}{'https s':>10}{'https rate':>12}")
        for kind in ("real", "events"):
            names = [f"{kind}-{i}.root" for i in range(arguments.files)]
            for link in names:
                (folder / link).symlink_to(folder / f"{kind}.root")
            places = {"local": f"{folder}/", "https": url}
            seconds = {place: [] for place in places}
            for _ in range(arguments.repeat + 1):
                for place, prefix in places.items():
                    seconds[place].append(skim([prefix + one for one in names]))
            # The first pass compiles the classes of the file.
            local, https = (statistics.median(seconds[place][1:]) for place in places)
            print(f"{kind:<14}{local:>10.2f}{https:>10.2f}{local / https:>12.0%}")
        server.terminate()


def serve(folder: pathlib.Path, urls: multiprocessing.Queue):
    """Serves the folder until the process ends."""
    with http_server(folder, folder / "certificate.pem") as server:
        urls.put(server.url(""))
        server.ended.wait()


def skim(files: list[str]) -> float:
    """Seconds of a skim of the files, one after the other."""
    start = time.perf_counter()
    for file in files:
        skim_file(SkimTask(file, "central"))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
