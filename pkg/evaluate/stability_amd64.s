#include "textflag.h"

// EDGE counts in an accumulator which values of the pair in X9 are above the edges at a place ($1 is "less than": all bits
// of the answer are set, which is -1).
#define EDGE(at, count) \
	MOVUPS at(SI), X10     \
	CMPPD  X9, X10, $1     \
	PSUBQ  X10, count

// func countPair(above *[9][2]int64, edges *[9][2]float64, x []float64, width int)
TEXT ·countPair(SB), NOSPLIT, $0-48
	MOVQ above+0(FP), DI
	MOVQ edges+8(FP), SI
	MOVQ x_base+16(FP), BX
	MOVQ x_len+24(FP), CX
	MOVQ width+40(FP), DX
	SHLQ $3, DX
	PXOR X0, X0 // X0 to X8: values above each edge so far, in the two columns
	PXOR X1, X1
	PXOR X2, X2
	PXOR X3, X3
	PXOR X4, X4
	PXOR X5, X5
	PXOR X6, X6
	PXOR X7, X7
	PXOR X8, X8

loop:
	CMPQ   CX, $2
	JLT    done
	MOVUPS (BX), X9
	EDGE(0, X0)
	EDGE(16, X1)
	EDGE(32, X2)
	EDGE(48, X3)
	EDGE(64, X4)
	EDGE(80, X5)
	EDGE(96, X6)
	EDGE(112, X7)
	EDGE(128, X8)
	ADDQ   DX, BX
	SUBQ   width+40(FP), CX
	JMP    loop

done:
	MOVUPS X0, (DI)
	MOVUPS X1, 16(DI)
	MOVUPS X2, 32(DI)
	MOVUPS X3, 48(DI)
	MOVUPS X4, 64(DI)
	MOVUPS X5, 80(DI)
	MOVUPS X6, 96(DI)
	MOVUPS X7, 112(DI)
	MOVUPS X8, 128(DI)
	RET
