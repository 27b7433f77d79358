"""Constants of the rotation group: Wigner 3j, spherical harmonics, symmetric couplings."""
