// Package susy makes events like those of the UCI SUSY data set, as many as wanted, and computes the ten features
// that the data set's authors derived from its eight measured ones.
//
// An event is a collision with two leptons and missing transverse momentum (MET). The label says whether it is
// signal (1, supersymmetric particles) or background (0). Data set: Baldi, Sadowski, Whiteson, Nature
// Communications 5 (2014) 4308.
//
// The file scales each column on its own: positive ones to mean 1, signed ones to mean 0 and standard deviation 1.
// Values here are file values unless a comment says physical. The unit of physical momentum is that of the file's
// lepton_1_pT; angles are in radians.
package susy

// Features is the number of columns beside the label: 8 measured, then 10 derived.
const Features = 18

// Columns holds the names of the label and the features, in the order of the UCI file.
var Columns = [1 + Features]string{
	"label",
	"lepton_1_pT", "lepton_1_eta", "lepton_1_phi",
	"lepton_2_pT", "lepton_2_eta", "lepton_2_phi",
	"MET", "MET_phi",
	"MET_rel", "axial_MET", "M_R", "M_TR_2", "R", "MT2", "S_R", "M_Delta_R", "dPhi_r_b", "cos_theta_r1",
}

// Indices of the features in an event.
const (
	lepton1PT = iota
	lepton1Eta
	lepton1Phi
	lepton2PT
	lepton2Eta
	lepton2Phi
	missing
	missingPhi
	missingRel
	axialMissing
	mR
	mTR2
	ratioR
	mT2
	sR
	mDeltaR
	dPhiRB
	cosThetaR1
)
