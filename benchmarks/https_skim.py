"""Speed of a skim over https, compared with the same files on this machine.

    python benchmarks/https_skim.py FILE MADE [--files 20] [--events 2000] [--repeat 3]

FILE is a real AODSIM file, which opens slowly because of its many branches. MADE is a file of `--events`
events, which reads slowly; if missing, it is made from FILE as in `benchmarks/aodsim.py`. Files of the portal
have both properties. A process serves copies of both files with TLS on the loopback. Prints the seconds of a
skim of `--files` copies, local and over https in turn, the best of each, and the ratio of the https rate to
the local one, for wall time (needs a quiet machine) and for processor time without the server.
"""

import argparse
import multiprocessing
import os
import pathlib
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.aodsim import repeat
from e2e_jax.sources.opendata.skim import SkimJob, skim_file
from e2e_jax.studies import hgg
from tests.http_server import http_server, write_certificate


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="a real AODSIM file")
    parser.add_argument("made", type=pathlib.Path, help="a file of many events")
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    if not arguments.made.exists():
        repeat(arguments.file, str(arguments.made), arguments.events)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        os.environ["REQUESTS_CA_BUNDLE"] = str(write_certificate(folder / "certificate.pem"))
        urls = multiprocessing.Queue()
        server = multiprocessing.Process(target=serve, args=(folder, urls), daemon=True)
        server.start()
        url = urls.get()
        print(f"{'files':<8}{'time':<12}{'local s':>10}{'https s':>10}{'https rate':>12}", flush=True)
        for kind, file in (("real", arguments.file), ("made", arguments.made)):
            names = [f"{kind}-{i}.root" for i in range(arguments.files)]
            for link in names:
                shutil.copy(file, folder / link)
            places = {"local": f"{folder}/", "https": url}
            skim([places["local"] + names[0], url + names[0]])  # compiles the classes of the file
            seconds = {place: [] for place in places}
            for _ in range(arguments.repeat):
                for place, prefix in places.items():
                    seconds[place].append(skim([prefix + one for one in names]))
            for number, clock in enumerate(("wall", "processor")):
                local, https = (min(times[number] for times in seconds[place]) for place in places)
                rate = local / https
                print(f"{kind:<8}{clock:<12}{local:>10.2f}{https:>10.2f}{rate:>12.0%}", flush=True)
        server.terminate()


def serve(folder: pathlib.Path, urls: multiprocessing.Queue):
    """Serves the folder until the process ends."""
    with http_server(folder, folder / "certificate.pem") as server:
        urls.put(server.url(""))
        server.ended.wait()


def skim(files: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of a skim of the files, one after the other."""
    wall, processor = time.perf_counter(), time.process_time()
    for file in files:
        skim_file(SkimJob(file, hgg.SELECTIONS["central"]))
    return time.perf_counter() - wall, time.process_time() - processor


if __name__ == "__main__":
    main()
