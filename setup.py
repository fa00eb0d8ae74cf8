"""Package metadata. Tool settings are in pyproject.toml; BUILD.md says why each dependency is here."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "vunet_tf/__init__.py").read_text())[1]

EXPORT = ["ai-edge-quantizer>=0.10,<0.11", "tensorflow-serving-api>=2.21,<2.22"]
CLUSTER = ["distributed>=2025.1,<2027"]
DOCS = ["zensical>=0.0.73,<0.1", "mkdocstrings-python>=2.0,<3"]

setup(
    name="vunet-tf",
    version=VERSION,
    description="Variational U-Net (CVPR 2018) in Keras 3: train, measure, serve, run on a phone",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["vunet_tf", "vunet_tf.*", "export", "export.*"]),
    package_data={
        "vunet_tf": ["py.typed"],
        "vunet_tf.evaluation": ["*.jinja"],
        "export": ["py.typed", "mobile/*"],
        "export.serving": ["*.config", "*.yaml"],
        "export.web": ["page/*"],
        "vunet_tf.pretrained": ["*/*", "*/examples/*"],
    },
    python_requires=">=3.10",
    # The bounds are what the tests ran with; Python 3.10 gets NumPy 2.2 and Pillow 12, later ones the newest.
    install_requires=[
        "absl-py>=2.3,<3",
        "ai-edge-litert>=2.3,<3",
        "av>=16,<19",
        "h5py>=3.12,<4",
        "jinja2>=3.1,<4",
        "keras>=3.12,<3.16",
        "matplotlib>=3.10,<4",
        "numpy>=2.2,<2.5",
        "opencv-python-headless>=5.0,<6",
        "pillow>=12,<14",
        "platformdirs>=4,<5",
        "scikit-image>=0.25,<0.27",
        "scikit-learn>=1.7,<2",
        "tensorflow>=2.21,<2.22",
        "tensorflow-probability[tf]>=0.25,<0.26",
        "threadpoolctl>=3.1,<4",
        "tqdm>=4.66,<5",
    ],
    extras_require={
        "export": EXPORT,
        "cluster": CLUSTER,
        "docs": DOCS,
        "dev": [
            *EXPORT,
            *CLUSTER,
            *DOCS,
            "hypothesis>=6.150,<7",
            "mypy>=2.4,<3",
            "playwright>=1.50,<2",
            "pytest>=9,<9.2",  # with 9.2, pytest-xdist 3.8 takes no notice of groups, and models are made twice
            "pytest-xdist>=3.8,<4",
            "ruff>=0.17,<0.18",
            "scipy>=1.15,<2",
        ],
    },
)
