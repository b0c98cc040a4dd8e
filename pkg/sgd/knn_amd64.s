#include "textflag.h"

// FOUR turns the products of four rows into distances, stores them, and adds a bit to AX for each below the limit ($1 is
// "less than").
#define FOUR(products, at) \
	MOVUPS   at(DX), X8       \
	SUBPS    products, X8     \
	ADDPS    X9, X8           \
	MAXPS    X11, X8          \
	MOVUPS   X8, at(DI)       \
	CMPPS    X10, X8, $1      \
	MOVMSKPS X8, CX           \
	SHLL     $(at/4), CX      \
	ORL      CX, AX

// func distances(d *[32]float32, columns [][32]float32, halves *[32]float32, x []float64, half, limit float32) (below uint32)
TEXT ·distances(SB), NOSPLIT, $0-76
	MOVQ  d+0(FP), DI
	MOVQ  columns_base+8(FP), SI
	MOVQ  halves+32(FP), DX
	MOVQ  x_base+40(FP), BX
	MOVQ  x_len+48(FP), CX
	XORPS X0, X0 // X0 to X7: the products x·r so far, four each
	XORPS X1, X1
	XORPS X2, X2
	XORPS X3, X3
	XORPS X4, X4
	XORPS X5, X5
	XORPS X6, X6
	XORPS X7, X7
	TESTQ CX, CX
	JZ    products

loop:
	XORPS    X8, X8
	CVTSD2SS (BX), X8
	SHUFPS   $0, X8, X8
	MOVUPS   (SI), X9
	MOVUPS   16(SI), X10
	MOVUPS   32(SI), X11
	MOVUPS   48(SI), X12
	MULPS    X8, X9
	MULPS    X8, X10
	MULPS    X8, X11
	MULPS    X8, X12
	ADDPS    X9, X0
	ADDPS    X10, X1
	ADDPS    X11, X2
	ADDPS    X12, X3
	MOVUPS   64(SI), X9
	MOVUPS   80(SI), X10
	MOVUPS   96(SI), X11
	MOVUPS   112(SI), X12
	MULPS    X8, X9
	MULPS    X8, X10
	MULPS    X8, X11
	MULPS    X8, X12
	ADDPS    X9, X4
	ADDPS    X10, X5
	ADDPS    X11, X6
	ADDPS    X12, X7
	ADDQ     $8, BX
	ADDQ     $128, SI
	DECQ     CX
	JNZ      loop

products:
	MOVSS  half+64(FP), X9
	SHUFPS $0, X9, X9
	MOVSS  limit+68(FP), X10
	SHUFPS $0, X10, X10
	XORPS  X11, X11
	XORL   AX, AX
	FOUR(X0, 0)
	FOUR(X1, 16)
	FOUR(X2, 32)
	FOUR(X3, 48)
	FOUR(X4, 64)
	FOUR(X5, 80)
	FOUR(X6, 96)
	FOUR(X7, 112)
	MOVL   AX, below+72(FP)
	RET
