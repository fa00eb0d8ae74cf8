"""Published numbers for the tables: Esser, Sutter, Ommer (CVPR 2018), arXiv 1804.04694."""

# Reconstruction: (inception score, SSIM) on Market-1501, the same on DeepFashion.
RECONSTRUCTION = {
    "real images": (3.678, 1.0, 3.415, 1.0),
    "PG2 (G1+G2+D)": (3.460, 0.253, 3.090, 0.762),
    "pix2pix": (2.289, 0.166, 2.640, 0.646),
    "VU-Net": (3.214, 0.353, 3.087, 0.786),
}
# Shape kept: error of re-detected joints in pixels at 256 x 256: COCO, DeepFashion, Market-1501.
SHAPE_KEPT = {"VU-Net": (23.23, 7.34, 54.60), "pix2pix": (None, 15.53, 59.59)}
# Appearance kept (Table 3): spread of re-identification features over 5 poses, Market-1501.
APPEARANCE_KEPT = {"VU-Net": 55.95, "PG2": 67.39}
