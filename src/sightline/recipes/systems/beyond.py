"""Systems of series, images, speech and brain scans: their masks and parts are here, no recipe yet.

A row leaves this file when its recipe is there.
"""

from __future__ import annotations

from sightline.recipes.systems.record import Drawn, System

__all__ = ["SYSTEMS"]

_NO_RECIPE = "no recipe yet"

SYSTEMS = (
    System(
        name="logsparse",
        title="LogSparse Transformer for forecasting",
        definition=(
            "A cell of a time series sees itself and the cells 1, 2, 4, 8, ... before it; queries "
            "and keys come from causal convolutions, so that shapes are compared, not points."
        ),
        source="Li et al. 2019, arXiv 1907.00235",
        masks=(
            Drawn("the paper's", "log_sparse()", 12, 12),
            Drawn("of widely copied code", "log_sparse_row_mask(sub_len=4, win_len=12)", 12, 12),
        ),
        parts=("sl.log_sparse", "sl.log_sparse_row_mask", "sl.nn.CausalConv1d"),
        parity="the index sets of the formula; ⌊log2 L⌋ + 1 layers reach every past cell",
        tests=("tests/unit/test_reference_dense.py", "tests/unit/test_plan_reach.py"),
        missing=f"{_NO_RECIPE}: the mask and the convolution are there, the forecaster is not",
    ),
    System(
        name="swin",
        title="Swin, windows that are shifted",
        definition=(
            "Image patches attend within windows, shifted by half a window in every other layer; "
            "what the shift brings around the border is kept apart."
        ),
        source="Liu et al. 2021, Swin Transformer",
        masks=(
            Drawn("windows", "shifted_window(grid=(4, 4), window=2, shift=0)", 16, 16),
            Drawn("shifted", "shifted_window(grid=(4, 4), window=2, shift=1)", 16, 16),
        ),
        parts=("sl.shifted_window", "sl.lower(mask, to='swin')"),
        parity="the mask of transformers' Swin, window by window: equal",
        tests=("tests/unit/test_lower_windows.py",),
        missing=f"{_NO_RECIPE}: the mask is there, the model is not",
    ),
    System(
        name="cnn-attention",
        title="Attention in convolutional networks: a learned scale",
        definition=(
            "A number between 0 and 1, computed from the features themselves, scales channels or "
            "places of a feature map; frozen at 1 it changes nothing."
        ),
        source="Hu et al. 2018 (squeeze and excitation); Woo et al. 2018 (CBAM)",
        masks=(),
        parts=("sl.nn.ChannelMask", "sl.nn.SpatialMask", "sl.nn.CBAM", "sl.nn.ResidualMask"),
        parity="transformers' squeeze and excitation, CBAM's formulas written out: within 1e-6",
        tests=("tests/unit/test_nn_soft_masks.py",),
        missing=f"{_NO_RECIPE}: the parts are there, the comparison on images is not",
    ),
    System(
        name="mhanet",
        title="MHANet, causal speech enhancement",
        definition=(
            "Five layers of causal attention over spectral frames estimate how much of each is "
            "speech; weights of padded frames are multiplied by 0 after the softmax."
        ),
        source="Nicolson and Paliwal 2020, Speech Communication",
        masks=(Drawn("frames", "causal() & padding(lengths=[4]) & queries([0, 1, 2, 3])", 6, 6),),
        parts=("sl.causal", "sl.nn.TransformerEncoderLayer"),
        parity="torch's layer, which its blocks are without biases: within 1e-5",
        tests=("tests/parity/test_torch_transformer.py",),
        missing=f"{_NO_RECIPE}: mask and layers are there, the model and its rivals are not",
    ),
    System(
        name="mamsm",
        title="MAMSM, masked modelling of brain scans",
        definition=(
            "A BERT reads the time series of single voxels as words, some hidden; what [CLS] "
            "attends to over time then tells task networks apart."
        ),
        source="Frontiers in Neuroscience 2023, doi 10.3389/fnins.2023.1183145",
        masks=(Drawn("all time points", "padding(lengths=[6])", 7, 7),),
        parts=("sl.padding", "sl.nn.TransformerEncoder"),
        parity="torch's encoder: within 1e-5; its own block without residuals has no reference",
        tests=("tests/parity/test_torch_transformer.py",),
        missing=f"{_NO_RECIPE}: the encoder is there, both stages of training are not",
    ),
)
