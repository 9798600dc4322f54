"""The command line of the export.

e2e-jax export --workdir=DIR --format=stablehlo|onnx [--input=hits|images] [--which=best]
                         [--scaling=inside|outside] --output=FILE
"""

import sys

from e2e_jax.commands import command_line


def main(argv):
    """Export the classifier of the command line, and print a summary."""
    arguments = _parser().parse_args(argv[1:])
    # Imported here, so that --help is fast.
    from e2e_jax.inference.export import files

    which = int(arguments.which) if arguments.which.isdigit() else arguments.which
    how = arguments.format, arguments.input, which, arguments.scaling
    print(files.export(arguments.workdir, arguments.output, *how))


def _parser():
    parser = command_line.Parser("e2e-jax export", description="Exports a trained classifier as one file.")
    parser.add_argument("--workdir", required=True, help="folder of the run")
    parser.add_argument("--format", required=True, choices=("stablehlo", "onnx"))
    parser.add_argument(
        "--input", default="hits", choices=("hits", "images"), help="what it scores (default: %(default)s)"
    )
    parser.add_argument(
        "--scaling",
        default="inside",
        choices=("inside", "outside"),
        help="of images: thresholds and scale are in the file, or applied before (default: %(default)s)",
    )
    parser.add_argument("--which", default="best", help="best, latest or a step (default: %(default)s)")
    parser.add_argument("--output", required=True, help="the file to write")
    return parser


def run():
    """Run the command with the arguments of the program."""
    command_line.reporting(main)(sys.argv)


if __name__ == "__main__":
    run()
