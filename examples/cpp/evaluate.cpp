// Load a .pt2 that `equic export` wrote, and evaluate one molecule. No Python runs.
//
//   ./evaluate model.pt2 molecule.xyz CUTOFF SPECIES...      prints the energy (eV) and the forces (eV/Å)
//
// CUTOFF (Å) and SPECIES (in their order) are those of the spec; they are also in the package's metadata, as the
// `system` of the plan. Inputs go in by position: positions, species, cell, system, edges, shifts.

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

struct Molecule {
  std::vector<int64_t> species;
  std::vector<double> positions;  // x, y, z of each atom
};

Molecule read_xyz(const std::string& path, const std::vector<std::string>& known) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) throw std::runtime_error("cannot read " + path);
  const int count = std::stoi(line);
  std::getline(file, line);  // the comment
  Molecule molecule;
  for (int i = 0; i < count; ++i) {
    if (!std::getline(file, line)) throw std::runtime_error(path + " ends early");
    std::istringstream words(line);
    std::string symbol;
    double x, y, z;
    words >> symbol >> x >> y >> z;
    const auto place = std::find(known.begin(), known.end(), symbol);
    if (place == known.end()) throw std::runtime_error("the model does not know " + symbol);
    molecule.species.push_back(place - known.begin());
    molecule.positions.insert(molecule.positions.end(), {x, y, z});
  }
  return molecule;
}

int main(int argc, char** argv) try {
  if (argc < 5) throw std::runtime_error("evaluate MODEL.pt2 MOLECULE.xyz CUTOFF SPECIES...");
  // Without this, shapes and strides are not checked, and wrong ones give wrong numbers in silence. It is read once,
  // at the first call.
  setenv("AOTI_RUNTIME_CHECK_INPUTS", "1", 0);
  const double cutoff = std::stod(argv[3]);
  const Molecule molecule = read_xyz(argv[2], {argv + 4, argv + argc});
  const int64_t atoms = static_cast<int64_t>(molecule.species.size());

  // All ordered pairs closer than the cutoff: row 0 the neighbour (source), row 1 the atom (target).
  std::vector<int64_t> sources, targets;
  for (int64_t i = 0; i < atoms; ++i)
    for (int64_t j = 0; j < atoms; ++j) {
      double squared = 0.0;
      for (int axis = 0; axis < 3; ++axis) {
        const double d = molecule.positions[3 * i + axis] - molecule.positions[3 * j + axis];
        squared += d * d;
      }
      if (i != j && squared < cutoff * cutoff) {
        sources.push_back(j);
        targets.push_back(i);
      }
    }
  const int64_t edges = static_cast<int64_t>(sources.size());
  std::vector<int64_t> pairs(sources);
  pairs.insert(pairs.end(), targets.begin(), targets.end());

  const auto real = torch::TensorOptions().dtype(torch::kFloat64);
  const auto whole = torch::TensorOptions().dtype(torch::kInt64);
  // Every tensor contiguous and of the dtype that the metadata state; clone() lets go of our vectors.
  std::vector<at::Tensor> inputs = {
      torch::from_blob(const_cast<double*>(molecule.positions.data()), {atoms, 3}, real).clone(),
      torch::from_blob(const_cast<int64_t*>(molecule.species.data()), {atoms}, whole).clone(),
      torch::zeros({1, 3, 3}, real),  // no lattice
      torch::zeros({atoms}, whole),   // one system
      torch::from_blob(pairs.data(), {2, edges}, whole).clone(),
      torch::zeros({edges, 3}, real),
  };

  torch::inductor::AOTIModelPackageLoader loader(argv[1]);
  const std::vector<at::Tensor> outputs = loader.run(inputs);
  std::printf("energy %.17g\n", outputs[0].item<double>());
  const auto forces = outputs[1].contiguous();
  for (int64_t i = 0; i < atoms; ++i)
    std::printf("force %.17g %.17g %.17g\n", forces[i][0].item<double>(), forces[i][1].item<double>(),
                forces[i][2].item<double>());
  return 0;
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << '\n';
  return 1;
}
