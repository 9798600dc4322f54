"""A classifier as one file that scores hits or images outside of this code.

    e2e-jax export --workdir=DIR --format=stablehlo|onnx [--input=hits|images] --output=FILE

or, in a program, `files.export(workdir, path, format, given)`. What the file computes is what
`Classifier.predict` does, from the hits or the images in GeV to the probabilities, parameters included:
`signature` says with what inputs, `stablehlo` and `onnx_file` write the formats.
"""
