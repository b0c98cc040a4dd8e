#include "textflag.h"

// func dotPair(a, b, z []float64) (az, bz float64)
TEXT ·dotPair(SB), NOSPLIT, $0-88
	MOVQ  a_base+0(FP), AX
	MOVQ  b_base+24(FP), BX
	MOVQ  z_base+48(FP), DX
	MOVQ  z_len+56(FP), R8
	XORPS X0, X0 // az, bz
	XORL  R9, R9
	JMP   more

place: // values one by one: two that were just stored could not be loaded as one before they have left for the cache
	MOVSD    (DX)(R9*8), X1
	UNPCKLPD X1, X1
	MOVSD    (AX)(R9*8), X2
	MOVHPD   (BX)(R9*8), X2
	MULPD    X1, X2
	ADDPD    X2, X0
	INCQ     R9

more:
	CMPQ R9, R8
	JLT  place
	MOVSD  X0, az+72(FP)
	MOVHPD X0, bz+80(FP)
	RET

// func dotFour(a, b []float64) float64
TEXT ·dotFour(SB), NOSPLIT, $0-56
	MOVQ  a_base+0(FP), AX
	MOVQ  b_base+24(FP), BX
	MOVQ  a_len+8(FP), R8
	XORPS X0, X0 // the first two sums
	XORPS X1, X1 // the last two
	XORL  R9, R9
	SUBQ  $3, R8 // while R9 is below it, four terms are left

four:
	CMPQ   R9, R8
	JGE    rest
	MOVUPD (AX)(R9*8), X2
	MOVUPD 16(AX)(R9*8), X3
	MOVUPD (BX)(R9*8), X4
	MOVUPD 16(BX)(R9*8), X5
	MULPD  X4, X2
	MULPD  X5, X3
	ADDPD  X2, X0
	ADDPD  X3, X1
	ADDQ   $4, R9
	JMP    four

rest:
	ADDQ $3, R8

term:
	CMPQ  R9, R8
	JGE   sum
	MOVSD (AX)(R9*8), X2
	MULSD (BX)(R9*8), X2
	ADDSD X2, X0
	INCQ  R9
	JMP   term

sum:
	MOVAPD   X0, X2
	UNPCKHPD X2, X2
	ADDSD    X2, X0
	MOVAPD   X1, X3
	UNPCKHPD X3, X3
	ADDSD    X3, X1
	ADDSD    X1, X0
	MOVSD    X0, ret+48(FP)
	RET

// func descend(to, w, v []float64, step float64)
TEXT ·descend(SB), NOSPLIT, $0-80
	MOVQ     to_base+0(FP), DI
	MOVQ     w_base+24(FP), AX
	MOVQ     v_base+48(FP), BX
	MOVQ     v_len+56(FP), R8
	MOVSD    step+72(FP), X4
	UNPCKLPD X4, X4
	XORL     R9, R9
	DECQ     R8 // while R9 is below it, two places are left

pair:
	CMPQ   R9, R8
	JGE    last
	MOVUPD (BX)(R9*8), X0
	MULPD  X4, X0
	MOVUPD (AX)(R9*8), X1
	SUBPD  X0, X1
	MOVUPD X1, (DI)(R9*8)
	ADDQ   $2, R9
	JMP    pair

last:
	JNE   done
	MOVSD (BX)(R9*8), X0
	MULSD X4, X0
	MOVSD (AX)(R9*8), X1
	SUBSD X0, X1
	MOVSD X1, (DI)(R9*8)

done:
	RET

// func diagonalSums(u, w, p, z []float64) (margin, s float64)
TEXT ·diagonalSums(SB), NOSPLIT, $0-112
	MOVQ  u_base+0(FP), DI
	MOVQ  w_base+24(FP), AX
	MOVQ  p_base+48(FP), BX
	MOVQ  z_base+72(FP), DX
	MOVQ  z_len+80(FP), R8
	XORPS X0, X0 // margin, s
	XORL  R9, R9
	DECQ  R8     // while R9 is below it, two places are left

pair:
	CMPQ     R9, R8
	JGE      last
	MOVUPD   (DX)(R9*8), X1
	MOVUPD   (AX)(R9*8), X2
	MOVUPD   (BX)(R9*8), X3
	MULPD    X1, X3
	MOVUPD   X3, (DI)(R9*8)
	MULPD    X1, X2
	MULPD    X1, X3
	MOVAPD   X2, X4
	UNPCKLPD X3, X2
	UNPCKHPD X3, X4
	ADDPD    X2, X0
	ADDPD    X4, X0
	ADDQ     $2, R9
	JMP      pair

last:
	JNE      done
	MOVSD    (DX)(R9*8), X1
	MOVSD    (AX)(R9*8), X2
	MOVSD    (BX)(R9*8), X3
	MULSD    X1, X3
	MOVSD    X3, (DI)(R9*8)
	MULSD    X1, X2
	MULSD    X1, X3
	UNPCKLPD X3, X2
	ADDPD    X2, X0

done:
	MOVSD  X0, margin+96(FP)
	MOVHPD X0, s+104(FP)
	RET

#define W (AX)(R9*8)
#define P (BX)(R9*8)
#define U (DX)(R9*8)

// PLACES does as many places as MOVE moves.
#define PLACES(MOVE) \
	MOVE   U, X0 \
	MOVAPD X0, X1         \
	MULPD  X0, X1         \
	MULPD  X5, X1         \
	MULPD  X4, X0         \
	MOVE   W, X2 \
	ADDPD  X0, X2         \
	MOVE   X2, W \
	MOVE   P, X3 \
	ADDPD  X6, X3         \
	SUBPD  X1, X3         \
	MINPD  X7, X3         \
	MOVE   X3, P

// func diagonalStep(w, p, u []float64, step, hk, q, v0 float64)
TEXT ·diagonalStep(SB), NOSPLIT, $0-104
	MOVQ     w_base+0(FP), AX
	MOVQ     p_base+24(FP), BX
	MOVQ     u_base+48(FP), DX
	MOVQ     u_len+56(FP), R8
	MOVSD    step+72(FP), X4
	UNPCKLPD X4, X4
	MOVSD    hk+80(FP), X5
	UNPCKLPD X5, X5
	MOVSD    q+88(FP), X6
	UNPCKLPD X6, X6
	MOVSD    v0+96(FP), X7
	UNPCKLPD X7, X7
	XORL     R9, R9
	DECQ     R8 // while R9 is below it, two places are left

pair:
	CMPQ R9, R8
	JGE  last
	PLACES(MOVUPD)
	ADDQ $2, R9
	JMP  pair

last:
	JNE  done
	PLACES(MOVSD)

done:
	RET
