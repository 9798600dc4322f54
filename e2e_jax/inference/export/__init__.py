"""Exports a classifier to one file that scores hits or images without this code.

    e2e-jax export --workdir=DIR --format=stablehlo|onnx [--input=hits|images] --output=FILE

or, in a program, `files.export(workdir, path, format, given)`. The file computes the same as
`Classifier.predict`, from the hits or the images in GeV to the probabilities, and contains the parameters.
`signature` defines the inputs; `stablehlo` and `onnx_file` write the formats.
"""
