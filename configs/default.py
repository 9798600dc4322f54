"""Every field of a training, with its default: what the other configs derive from.

A config is data. The other files of this folder take this one and change the few fields that make their
classifier; the command line changes single fields on top:

    python -m e2e_jax.main --config=configs/cms_b.py:quick --config.train.epochs=3

The word after the colon is the size: "quick" (2,000 training events per class), "medium" (15,000) or "paper"
(51,200, and 120,000 of the central+forward category, with the paper's batch of 360). Of showers they are
2,000, 20,000 and 199,200, of jets 2,000, 15,000 and 69,653.
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
"""What a size changes in addition to the dataset. Few events need small batches for many steps. A small batch
has few gamma gamma events, so the groups of neighbors must be small for the penalty to see a slope."""


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
"""What a category of events changes; `studies.hgg` defines where its photons may be. Showers are of single
particles, or of uncorrelated pairs. They have no mass, so no penalty and no limit. Jets have neither."""


def get_config(size="quick", category="central"):
    """The defaults: CMS-B, the ResNet-15 on tracks, ECAL and HCAL, at one of `SIZES`, on one of `CATEGORIES`.

    Raises:
      ValueError: `size` is none of `SIZES`.
    """
    if size not in SIZES:
        raise ValueError(
            f"A config has no size {size!r}. After the colon stands one of: {', '.join(SIZES)} "
            "(for example --config=configs/cms_b.py:quick)."
        )
    config = config_dict.ConfigDict()

    # Name of the classifier and of its size; together the default folder, runs/<name>-<size>.
    config.name = "default"
    config.size = size
    # The one seed: initialisation and the order of the events derive from it.
    config.seed = 0
    # How many networks are trained, with the seeds `seed`, `seed` + 1, ..., into the folders seed-0, seed-1
    # and so on of the run. Above 1 the results hold the mean and the spread of every metric, and the metrics
    # of the ensemble, whose probabilities are the means of the networks'.
    config.seeds = 1
    # How a step spreads over the devices: "jit" (over a mesh) or "pmap". Same losses either way.
    config.parallel = "jit"
    # How many devices the training takes, of each process where there are several; 0 is all there are.
    config.devices = 0
    # What the networks compute in on a GPU: "float32"; "tf32", float32 numbers multiplied with 10 bits of
    # mantissa, several times faster on newer GPUs; or "bfloat16", the ResNets' convolutions and maps in 16
    # bits. Parameters and their gradients, loss, penalty and everything after the last maps' maximum are
    # float32 in each case. On a CPU the first two are the same, and the third is slow.
    config.precision = "float32"
    # Whether a training on a GPU repeats to the bit. The hits of a pixel are then added up in a fixed order,
    # which costs a sort, and XLA excludes its nondeterministic operations. A CPU's training always repeats.
    config.deterministic = False
    # Whether to write a profile of a few steps to <workdir>/profile, see docs/howto/gpus.md.
    config.profile = False

    config.dataset = dataset = config_dict.ConfigDict()
    # TFDS name: builder/config.
    dataset.name = CATEGORIES[category]["dataset"].format(size=size)
    # Folder of the datasets; "" is TFDS's own: TFDS_DATA_DIR, or ~/tensorflow_datasets.
    dataset.data_dir = ""

    # What is learnt. Each dataset has a task of its own (`e2e_jax.study.Task`); a field that is not empty
    # changes it.
    config.task = task = config_dict.ConfigDict()
    # The class whose score is the result.
    task.signal = ""
    # The observables of which this score must be independent, such as ("mass",); ("none",) for no
    # decorrelation.
    task.decorrelate = ()
    # The labels in whose events it must be independent.
    task.of = ()
    # The classes, in the order of the logits, each made of one or several labels of the dataset, such as
    # ("background=gamma_gamma+gamma_jet", "h"). Labels in no class are left out.
    task.classes = ()
    # "classification", "regression" of observables, or "joint": both by one network.
    task.kind = ""
    # The observables that a regression predicts, such as ("mass_a",).
    task.targets = ()
    # The loss of a regression: "huber", or "gaussian", which also learns an uncertainty for each event.
    task.loss = ""
    # Weight of the regression in the loss of a joint task; 0 keeps the dataset's.
    task.weight = 0.0
    # The table of the paper next to which the results are shown, a key of `evaluation.published.TABLES`; ""
    # for none.
    config.published = CATEGORIES[category]["published"]

    config.data = data = config_dict.ConfigDict()
    # Where the training sample lies: on the "device" as hits, an epoch being one compiled loop; on the host,
    # to "stream" batch by batch; on "disk", where the events of a batch are read at random; or "auto": on the
    # device where it fits and the network is no slower for it, and on disk where it does not fit into memory.
    # The batches are the same.
    data.placement = "auto"

    config.inputs = inputs = config_dict.ConfigDict()
    # What the network sees: "images"; "tokens" (the strongest pixels with what lies around them, see
    # `detector.tokens`); "kinematics" (the photons' five mass-free numbers); or "high_level" (these and both
    # photons' shower shapes and isolation). Of showers: "showers".
    inputs.kind = "images"
    # Which images: "barrel" is the 170x360 crystals of the ECAL barrel; "ecal_centric" adds the 100x100 of
    # each endcap; "hcal_centric" is one of 280x360 for the whole detector, 5x5 pixels an HCAL tower. Of
    # showers: "crop", 32x32 crystals around the shower, or "barrel". Of jets: "jet", 125x125 around the jet.
    inputs.geometry = "barrel"
    # Whether images follow the arithmetic of the paper's authors where it loses energy or puts an edge of
    # the HCAL's towers elsewhere, see `detector.projections`.
    inputs.matches_authors = False
    # Their channels, in order: any of "tracks" (pT), "ecal", "hcal" (energy); GeV. Of showers: "energy" (GeV)
    # and "time" (ns), or "digis" alone, the ten samples of each crystal of a crop (GeV of the pulse).
    inputs.channels = ("tracks", "ecal", "hcal")
    # Pixels of each channel below this are set to zero, in GeV, before any scaling.
    inputs.threshold = config_dict.ConfigDict({"tracks": 1e-3, "ecal": 1e-3, "hcal": 1e-3})
    # What an event's images are divided by: an observable, such as "mass", the two photons' "sum_pt", or
    # "none". Dividing hides the mass scale from the network, the first half of the mass decorrelation.
    inputs.normalization = "mass"
    # Factor on each channel after that. It decides how fast anything is learned: the network has no
    # normalization layers, and E/m alone is small. 50 brings a 60 GeV photon's brightest crystal to about 16.
    # The number beside "hcal" over that beside "ecal" is the paper's HCAL constant, which it does not give.
    inputs.scale = config_dict.ConfigDict({"tracks": 50.0, "ecal": 50.0, "hcal": 50.0})

    # Tokens: how many of each channel; the strongest are taken.
    inputs.tokens = config_dict.ConfigDict({"ecal": 12, "tracks": 4, "hcal": 4})

    # High-level: which of `detector.shower_shapes.NAMES` ...
    inputs.shapes = (
        *("sigma_ieta_ieta", "sigma_iphi_iphi", "cov_ieta_iphi", "r9", "e1_over_e25", "h_over_e"),
        *("ecal_isolation", "hcal_isolation", "track_isolation"),
    )
    # ... and the (center, width) by which each becomes of order one, asinh((value - center) / width):
    # about those of photons in the barrel. Isolation in GeV.
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
    # "resnet15" for images (one network for each image of the geometry), "event_transformer" for tokens,
    # "patch_transformer" for one image, "four_momentum" for kinematics, "high_level" for high-level inputs;
    # for crops of showers "shower_vgg", "shower_conv_lstm", "shower_fcn".
    model.name = "resnet15"
    # ResNet-15: maps before and after the downsampling. VGG: maps of each pair of convolutions. Conv-LSTM:
    # maps of its first convolution and of its state. Event transformer: numbers of a token, and of a pair of
    # tokens. Patch transformer: numbers of a patch. The others: neurons of each hidden layer.
    model.widths = (16, 32)
    # Patch transformer: pixels along the side of a patch, and how many patches of an image are kept, the
    # brightest.
    model.patches = (4, 32)
    # ResNet-15: what is next to the barrel's image in phi, "zeros" (the paper's), or "wrap": the other edge.
    # The C++ for CPUs has zeros only; XLA computes the other.
    model.padding = "zeros"
    # Where several images' networks are joined, or behind a shower's maps, neurons of the hidden layers ...
    model.head = (128, 128, 128)
    # ... and the fraction of those neurons that is dropped in training.
    model.dropout = 0.2

    # A run whose best parameters the training starts from, instead of random ones; "" for none.
    model.start_from = ""
    # What is taken from it: "all", or "features" for all but the head, where the outputs are others.
    model.start_parts = "all"

    config.train = train = config_dict.ConfigDict()
    # Events a step, over all devices, the classes balanced.
    train.batch_size = SIZES[size]["batch_size"]
    # Most epochs; early stopping may end the training before.
    train.epochs = SIZES[size]["epochs"]
    # Of Adam, at the start.
    train.learning_rate = SIZES[size]["learning_rate"]
    # "constant" (the paper's); "cosine": down to zero over `epochs`, which gets more out of few of them; or
    # "one_cycle": up from a 25th in the first 30 % of the steps, then down to zero.
    train.schedule = SIZES[size]["schedule"]
    # Fraction of the steps in which the learning rate rises from zero before the schedule starts.
    train.warmup = 0.0
    # "adam", or "adamw", with a weight decay of the kernels times the learning rate.
    train.optimizer = "adam"
    train.weight_decay = 0.0
    # Largest norm of the gradient of all parameters; 0 for no limit.
    train.clip_norm = 0.0
    # Decay per step of the exponential moving average of the parameters, which is then what is evaluated and
    # kept; 0 for the parameters themselves.
    train.average = 0.0
    # Share of the target that all classes divide among themselves in the cross-entropy.
    train.label_smoothing = 0.0
    # Symmetries that each event is transformed by at random in training: any of "rotation" (in phi),
    # "reflection" (eta to -eta) and "mirror" (phi to -phi, with opposite charges).
    train.augment = ()
    # The observable that weighs the events in losses and metrics; "" where all count alike. Batches stay
    # balanced: in training the weights of each class have the mean 1.
    train.weights = ""
    # Epochs without progress after which training stops.
    train.patience = 5
    # Seconds between checkpoints within an epoch, which are written while the training goes on; 0: one after
    # every step. One is written after every epoch in any case.
    train.checkpoint_seconds = 60.0

    config.decorrelation = decorrelation = config_dict.ConfigDict()
    # How the score is made independent of the task's observables. Penalties: "cvm" (Cramer-von Mises, the
    # paper's), "disco" (distance correlation), "mode" (moment decomposition). "planing": training weights
    # that make the observables alike in all classes. Or "none".
    decorrelation.method = "cvm"
    # Weight of the penalty; 0 switches it off.
    decorrelation.strength = CATEGORIES[category]["strength"]
    # Events nearest in the observable that make a group of "cvm", or a bin of "mode".
    decorrelation.neighbors = SIZES[size]["neighbors"]
    # How the penalty's gradient is normalized over its events in a batch: "sum" or "mean". With
    # "sum" its balance with the mean cross-entropy goes with the batch: the paper's 0.15 at 360 events is
    # 0.15 * 360 / batch_size at another. eb_mass_aware.py holds the scan that shows it; images divided by the
    # mass need less: 0.15 kept their CVM under 0.001 at a batch of 36.
    decorrelation.reduction = "sum"
    # Of "mode": the order of the polynomial in the observable that the score may follow, 0 to 2.
    decorrelation.order = 0

    # The CVM metric, by which epochs are chosen whatever the method of the decorrelation.
    config.cvm = cvm = config_dict.ConfigDict()
    # The best epoch is sought among those whose CVM metric is below this; 1.0 admits every epoch.
    cvm.limit = CATEGORIES[category]["limit"]
    # Events in a window of the metric, and from the start of one window to the next.
    cvm.window = 200
    cvm.step = 50

    config.evaluate = evaluate = config_dict.ConfigDict()
    # Events of a forward pass.
    evaluate.batch_size = 240
    # Bootstrap samples behind the uncertainties of results.json.
    evaluate.bootstrap = 200
    # Views of each event over which a prediction is averaged: itself, reflected in eta, and both rotated in
    # phi. The epochs of a training are validated by the event itself; exported files score it, too.
    evaluate.symmetrize = 1

    if category == "showers":
        inputs.kind, inputs.geometry, inputs.normalization = "showers", "crop", "none"
        inputs.channels = ("energy",)
        # No threshold: what is below the noise was never read out.
        inputs.threshold = config_dict.ConfigDict()
        inputs.scale = config_dict.ConfigDict({"energy": 0.5, "time": 0.2, "digis": 0.5})

    if category == "jets":
        inputs.geometry, inputs.normalization = "jet", "none"
        inputs.threshold = config_dict.ConfigDict(dict.fromkeys(("tracks", "ecal", "hcal"), 1e-3))
        inputs.scale = config_dict.ConfigDict(dict.fromkeys(("tracks", "ecal", "hcal"), 0.5))

    # No new fields from here on: a misspelt name is an error, not a setting that nothing reads.
    config.lock()
    return config
