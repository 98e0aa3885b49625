"""What this product is made of, and what is known against it. In come the locks; out goes a CycloneDX list of each and
a verdict of the advisories. It installs nothing, changes no lock, and takes silence for no answer."""

__all__ = ["audit", "locks", "sbom"]
