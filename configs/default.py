"""Every field of a training with its default; all other configs derive from this one.

A config is data. The other files of this folder change the few fields that define their classifier. The
command line overrides single fields:

    python -m e2e_jax.main --config=configs/cms_b.py:quick --config.train.epochs=3

The word after the colon is the size: "quick" (2,000 training events per class), "medium" (15,000) or "paper"
(51,200, or 120,000 in the category central+forward; both with the paper's batch of 360). For showers the
numbers are 2,000, 20,000 and 199,200; for jets 2,000, 15,000 and 69,653.
"""

from ml_collections import config_dict

SIZES = {
    "quick": {"batch_size": 36, "neighbors": 6, "epochs": 8, "learning_rate": 1e-3, "schedule": "cosine"},
    "medium": {"batch_size": 36, "neighbors": 6, "epochs": 5, "learning_rate": 1e-3, "schedule": "cosine"},
    "paper": {
        "batch_size": 360,
        "neighbors": 12,
        "epochs": 50,
        "learning_rate": 5e-4,
        "schedule": "constant",
    },
}
"""Settings of each size, in addition to the dataset. Small samples need small batches to get enough steps.
A small batch has few gamma gamma events, so the penalty needs small groups of neighbors to detect a slope."""


CATEGORIES = {
    "central": {"dataset": "cms_hgg/{size}", "strength": 0.15, "limit": 0.002, "published": "table_6"},
    "central_forward": {
        "dataset": "cms_hgg/forward_{size}",
        "strength": 0.2,
        "limit": 0.004,
        "published": "table_7",
    },
    "showers": {
        "dataset": "ecal_showers/crops_{size}",
        "strength": 0.0,
        "limit": 1.0,
        "published": "table_4",
    },
    "jets": {"dataset": "cms_jets/{size}", "strength": 0.0, "limit": 1.0, "published": "quark_gluon"},
}
"""Settings of each category of events; `studies.hgg` defines the photon acceptance. A shower event is one
particle or an uncorrelated pair. Showers and jets have no mass, so no penalty and no limit."""


def get_config(size="quick", category="central"):
    """The defaults (CMS-B: ResNet-15 on tracks, ECAL and HCAL) for one of `SIZES` and one of `CATEGORIES`.

    Raises:
      ValueError: `size` is not in `SIZES`.
    """
    if size not in SIZES:
        raise ValueError(
            f"A config has no size {size!r}. After the colon stands one of: {', '.join(SIZES)} "
            "(for example --config=configs/cms_b.py:quick)."
        )
    config = config_dict.ConfigDict()

    # Names of the classifier and its size. The default folder is runs/<name>-<size>.
    config.name = "default"
    config.size = size
    # The only seed: the initialization and the order of the events derive from it.
    config.seed = 0
    # Number of networks to train, with the seeds `seed`, `seed` + 1, ..., in the run's folders seed-0,
    # seed-1, ... With more than one, the results hold the mean and the spread of every metric, and the
    # metrics of the ensemble. The ensemble averages the networks' probabilities.
    config.seeds = 1
    # How a step is distributed over the devices: "jit" (over a mesh) or "pmap". The losses are the same.
    config.parallel = "jit"
    # Devices per process; 0 uses all.
    config.devices = 0
    # Precision of the networks on a GPU. "float32"; "tf32": float32 numbers multiplied with 10 bits of
    # mantissa, several times faster on newer GPUs; "bfloat16": the ResNets' convolutions and maps in 16 bits.
    # Parameters and their gradients, loss, penalty and everything after the last maps' maximum are always
    # float32. On a CPU the first two are the same, and the third is slow.
    config.precision = "float32"
    # Whether a training on a GPU is reproducible bit for bit. The hits of a pixel are then added in a fixed
    # order, which costs a sort, and XLA avoids nondeterministic operations. CPUs are always reproducible.
    config.deterministic = False
    # Whether to write a profile of a few steps to <workdir>/profile; see docs/howto/gpus.md.
    config.profile = False

    config.dataset = dataset = config_dict.ConfigDict()
    # TFDS name: builder/config.
    dataset.name = CATEGORIES[category]["dataset"].format(size=size)
    # Folder of the datasets; "" is the TFDS default: TFDS_DATA_DIR, or ~/tensorflow_datasets.
    dataset.data_dir = ""

    # What to learn. Each dataset has its own task (`e2e_jax.study.Task`); nonempty fields override it.
    config.task = task = config_dict.ConfigDict()
    # The class whose score is evaluated.
    task.signal = ""
    # Observables from which this score is decorrelated, such as ("mass",); ("none",): no decorrelation.
    task.decorrelate = ()
    # Labels of the events in which the score is decorrelated.
    task.of = ()
    # The classes in the order of the logits, each made of one or several labels of the dataset, such as
    # ("background=gamma_gamma+gamma_jet", "h"). Events whose label is in no class are not used.
    task.classes = ()
    # "classification", "regression" of observables, or "joint" (both, in one network).
    task.kind = ""
    # Observables to predict in a regression, such as ("mass_a",).
    task.targets = ()
    # Regression loss: "huber", or "gaussian", which also learns an uncertainty per event.
    task.loss = ""
    # Weight of the regression in the loss of a joint task; 0 uses the dataset's weight.
    task.weight = 0.0
    # Published table to compare the results with, a key of `evaluation.published.TABLES`; "" for none.
    config.published = CATEGORIES[category]["published"]

    config.data = data = config_dict.ConfigDict()
    # Placement of the training sample. "device": as hits in device memory, and an epoch is one compiled loop.
    # "stream": in host memory, sent batch by batch. "disk": the events of each batch are read at random.
    # "auto": on the device if the sample fits and the network is not slower; on disk if the sample does not
    # fit into memory. The batches are the same in each case.
    data.placement = "auto"

    config.inputs = inputs = config_dict.ConfigDict()
    # Inputs of the network: "images"; "tokens" (the strongest pixels with their surroundings, see
    # `detector.tokens`); "kinematics" (five mass-free numbers of the photons); "high_level" (kinematics,
    # shower shapes and isolation of both photons). For showers: "showers".
    inputs.kind = "images"
    # Image geometry. "barrel": the 170x360 crystals of the ECAL barrel. "ecal_centric": the barrel and the
    # 100x100 crystals of each endcap. "hcal_centric": one 280x360 image of the whole detector, 5x5 pixels per
    # HCAL tower. For showers: "crop", 32x32 crystals around the shower, or "barrel". For jets: "jet", 125x125
    # crystals around the jet.
    inputs.geometry = "barrel"
    # Whether images reproduce the arithmetic of the paper's authors, which loses some energy and places some
    # edges of HCAL towers differently; see `detector.projections`.
    inputs.matches_authors = False
    # Channels of the images, in order: any of "tracks" (pT), "ecal", "hcal" (energy), in GeV. For showers:
    # "energy" (GeV) and "time" (ns), or only "digis", the ten samples of each crystal of a crop (GeV of the
    # pulse).
    inputs.channels = ("tracks", "ecal", "hcal")
    # Thresholds in GeV. Pixels below the threshold of their channel are set to zero before any scaling.
    inputs.threshold = config_dict.ConfigDict({"tracks": 1e-3, "ecal": 1e-3, "hcal": 1e-3})
    # Divisor of an event's images: an observable, such as "mass"; the two photons' "sum_pt"; or "none". The
    # division removes the mass scale from the images, the first half of the mass decorrelation.
    inputs.normalization = "mass"
    # Factor on each channel after the normalization. It controls the speed of learning: the network has no
    # normalization layers, and E/m alone is small. With 50, the brightest crystal of a 60 GeV photon is about
    # 16. The ratio of "hcal" to "ecal" is the HCAL constant of the paper, whose value is not published.
    inputs.scale = config_dict.ConfigDict({"tracks": 50.0, "ecal": 50.0, "hcal": 50.0})

    # Tokens per channel; the strongest are taken.
    inputs.tokens = config_dict.ConfigDict({"ecal": 12, "tracks": 4, "hcal": 4})

    # High-level inputs: names from `detector.shower_shapes.NAMES`.
    inputs.shapes = (
        *("sigma_ieta_ieta", "sigma_iphi_iphi", "cov_ieta_iphi", "r9", "e1_over_e25", "h_over_e"),
        *("ecal_isolation", "hcal_isolation", "track_isolation"),
    )
    # (center, width) that scale each shape to order one, asinh((value - center) / width). The values are
    # typical of photons in the barrel. Isolation in GeV.
    inputs.standard = config_dict.ConfigDict(
        {
            "sigma_ieta_ieta": (0.01, 0.002),
            "sigma_iphi_iphi": (0.015, 0.005),
            "cov_ieta_iphi": (0.0, 2e-5),
            "r9": (0.9, 0.1),
            "e1_over_e25": (0.5, 0.15),
            "h_over_e": (0.0, 0.05),
            "ecal_isolation": (0.0, 2.0),
            "hcal_isolation": (0.0, 2.0),
            "track_isolation": (0.0, 2.0),
        }
    )

    config.model = model = config_dict.ConfigDict()
    # "resnet15" for images (one network per image of the geometry), "event_transformer" for tokens,
    # "patch_transformer" for one image, "four_momentum" for kinematics, "high_level" for high-level inputs.
    # For crops of showers: "shower_vgg", "shower_conv_lstm", "shower_fcn".
    model.name = "resnet15"
    # ResNet-15: maps before and after the downsampling. VGG: maps of each pair of convolutions. Conv-LSTM:
    # maps of the first convolution and of the state. Event transformer: features per token and per pair of
    # tokens. Patch transformer: features per patch. Other networks: neurons of each hidden layer.
    model.widths = (16, 32)
    # Patch transformer: side of a patch in pixels, and number of patches kept per image (the brightest).
    model.patches = (4, 32)
    # ResNet-15: padding of the barrel image in phi, "zeros" (as in the paper) or "wrap" (the opposite edge).
    # The C++ code for CPUs supports only zeros; XLA computes "wrap".
    model.padding = "zeros"
    # Neurons of the hidden layers of the head, which joins the networks of several images or follows the
    # maps of a shower network.
    model.head = (128, 128, 128)
    # Fraction of these neurons that is dropped in training.
    model.dropout = 0.2

    # Run whose best parameters initialize the training; "" for random parameters.
    model.start_from = ""
    # Parameters to take from it: "all", or "features" (all but the head) if the outputs differ.
    model.start_parts = "all"

    config.train = train = config_dict.ConfigDict()
    # Events per step, summed over all devices, with balanced classes.
    train.batch_size = SIZES[size]["batch_size"]
    # Maximum number of epochs; early stopping may end the training before.
    train.epochs = SIZES[size]["epochs"]
    # Initial learning rate of Adam.
    train.learning_rate = SIZES[size]["learning_rate"]
    # "constant" (as in the paper); "cosine": decays to zero over `epochs`, better for few epochs; or
    # "one_cycle": rises from 1/25 in the first 30 % of the steps, then decays to zero.
    train.schedule = SIZES[size]["schedule"]
    # Fraction of the steps for a rise of the learning rate from zero, before the schedule starts.
    train.warmup = 0.0
    # "adam", or "adamw": its weight decay acts on the kernels and is multiplied by the learning rate.
    train.optimizer = "adam"
    train.weight_decay = 0.0
    # Maximum norm of the gradient of all parameters; 0 for no limit.
    train.clip_norm = 0.0
    # Decay per step of the exponential moving average of the parameters. The average is then evaluated and
    # stored. 0: no average.
    train.average = 0.0
    # Fraction of the cross-entropy target that is divided equally among all classes.
    train.label_smoothing = 0.0
    # Random symmetry transformations of each training event: any of "rotation" (in phi), "reflection" (eta
    # to -eta) and "mirror" (phi to -phi, with opposite charges).
    train.augment = ()
    # Observable that holds the event weights for losses and metrics; "" for equal weights. Batches stay
    # balanced: in training the weights of each class have mean 1.
    train.weights = ""
    # Number of epochs without progress after which the training stops.
    train.patience = 5
    # Seconds between checkpoints within an epoch, written in the background; 0: after every step. Each epoch
    # also ends with a checkpoint.
    train.checkpoint_seconds = 60.0

    config.decorrelation = decorrelation = config_dict.ConfigDict()
    # Method that decorrelates the score from the task's observables. Penalties: "cvm" (Cramer-von Mises, as
    # in the paper), "disco" (distance correlation), "mode" (moment decomposition). "planing": training
    # weights that give all classes the same distributions of the observables. Or "none".
    decorrelation.method = "cvm"
    # Weight of the penalty; 0 switches it off.
    decorrelation.strength = CATEGORIES[category]["strength"]
    # Events per group of "cvm" (nearest neighbors in the observable) or per bin of "mode".
    decorrelation.neighbors = SIZES[size]["neighbors"]
    # Normalization of the penalty's gradient over its events in a batch: "sum" or "mean". With "sum" the
    # balance with the mean cross-entropy depends on the batch size: the paper's 0.15 at 360 events
    # corresponds to 0.15 * 360 / batch_size. eb_mass_aware.py shows the scan. Images divided by the mass need
    # less: 0.15 kept their CVM under 0.001 at a batch of 36.
    decorrelation.reduction = "sum"
    # For "mode": order of the allowed polynomial dependence of the score on the observable, 0 to 2.
    decorrelation.order = 0

    # The CVM metric. It limits the choice of the best epoch, for every decorrelation method.
    config.cvm = cvm = config_dict.ConfigDict()
    # The best epoch must have a CVM metric below this limit; 1.0 admits every epoch.
    cvm.limit = CATEGORIES[category]["limit"]
    # Events per window of the metric, and events between the starts of consecutive windows.
    cvm.window = 200
    cvm.step = 50

    config.evaluate = evaluate = config_dict.ConfigDict()
    # Events per forward pass.
    evaluate.batch_size = 240
    # Bootstrap samples for the uncertainties in results.json.
    evaluate.bootstrap = 200
    # Number of symmetric views of each event whose predictions are averaged: the original, its reflection in
    # eta, and rotations of both in phi. Validation during training and exported files use only the original.
    evaluate.symmetrize = 1

    if category == "showers":
        inputs.kind, inputs.geometry, inputs.normalization = "showers", "crop", "none"
        inputs.channels = ("energy",)
        # No threshold: the readout already removed crystals below the noise.
        inputs.threshold = config_dict.ConfigDict()
        inputs.scale = config_dict.ConfigDict({"energy": 0.5, "time": 0.2, "digis": 0.5})

    if category == "jets":
        inputs.geometry, inputs.normalization = "jet", "none"
        inputs.threshold = config_dict.ConfigDict(dict.fromkeys(("tracks", "ecal", "hcal"), 1e-3))
        inputs.scale = config_dict.ConfigDict(dict.fromkeys(("tracks", "ecal", "hcal"), 0.5))

    # A locked config rejects misspelled field names.
    config.lock()
    return config
