#include "textflag.h"

// TERM is r = c + z·r, with r in X5 and z in X4.
#define TERM(at) \
	MULPD  X4, X5     \
	MOVUPS at(R8), X6 \
	ADDPD  X6, X5

// func logLossPairs(dst, prob, y []float64, k *lossConstants)
TEXT ·logLossPairs(SB), NOSPLIT, $0-80
	MOVQ dst_base+0(FP), DI
	MOVQ dst_len+8(FP), CX
	MOVQ prob_base+24(FP), SI
	MOVQ y_base+48(FP), BX
	MOVQ k+72(FP), R8
	SHRQ $1, CX
	JZ   done

loop:
	// X1 = p, limited: a NaN stays one, as the second operand is kept then.
	MOVUPS (SI), X0
	MOVUPS 0(R8), X1
	MAXPD  X0, X1
	MOVUPS 16(R8), X0
	MINPD  X1, X0
	MOVAPS X0, X1

	// p where the label is 1, else 1 - p.
	MOVUPS 32(R8), X8 // 1
	MOVAPS X8, X2
	SUBPD  X1, X2
	MOVUPS (BX), X3
	CMPPD  X8, X3, $0 // equal
	ANDPS  X3, X1
	ANDNPS X2, X3
	ORPS   X3, X1

	// X7 = k, X2 = f
	MOVUPS 48(R8), X3 // bits of 1 less those of √½
	PADDQ  X3, X1
	MOVAPS X1, X7
	PSRLQ  $52, X7
	MOVUPS 64(R8), X3 // bits of 2^52
	POR    X3, X7
	MOVUPS 80(R8), X3 // 2^52 + 1023
	SUBPD  X3, X7
	MOVUPS 96(R8), X3 // mantissa
	PAND   X3, X1
	MOVUPS 112(R8), X3 // bits of √½
	PADDQ  X3, X1
	SUBPD  X8, X1
	MOVAPS X1, X2

	// X3 = s = f/(2 + f), X4 = z = s²
	MOVUPS 128(R8), X4 // 2
	ADDPD  X2, X4
	MOVAPS X2, X3
	DIVPD  X4, X3
	MOVAPS X3, X4
	MULPD  X4, X4

	MOVUPS 144(R8), X5 // 2/21
	TERM(160)
	TERM(176)
	TERM(192)
	TERM(208)
	TERM(224)
	TERM(240)
	TERM(256)
	TERM(272)
	TERM(288)
	MULPD  X4, X5

	// X1 = half = f²/2, X5 = tail
	MULPD  X1, X1
	MOVUPS 304(R8), X6 // 1/2
	MULPD  X6, X1
	ADDPD  X1, X5
	MULPD  X3, X5
	MOVUPS 320(R8), X6 // low part of ln 2
	MULPD  X7, X6
	ADDPD  X6, X5

	// -(k·high part - (half - tail - f))
	SUBPD  X5, X1
	SUBPD  X2, X1
	MOVUPS 336(R8), X6 // high part of ln 2
	MULPD  X7, X6
	SUBPD  X1, X6
	MOVUPS 352(R8), X3 // sign
	XORPS  X3, X6
	MOVUPS X6, (DI)

	ADDQ $16, SI
	ADDQ $16, BX
	ADDQ $16, DI
	DECQ CX
	JNZ  loop

done:
	RET
