#include "textflag.h"

// func sweep(p, u, z, next []float64, pending, keep, grow float64)
TEXT ·sweep(SB), NOSPLIT, $0-120
	MOVQ     p_base+0(FP), AX // the row in hand, called a
	MOVQ     u_base+24(FP), CX
	MOVQ     z_base+48(FP), DX
	MOVQ     z_len+56(FP), R8
	MOVQ     next_base+72(FP), DI
	MOVSD    pending+96(FP), X13
	MOVSD    keep+104(FP), X4
	UNPCKLPD X4, X4
	MOVSD    grow+112(FP), X14
	ANDQ     $-2, R8
	XORL     SI, SI           // its number

rows:
	CMPQ     SI, R8
	JGE      last
	LEAQ     8(AX)(SI*8), BX  // the row after it, called b
	MOVSD    (CX)(SI*8), X0   // X0, X1: pending·u of a and b, twice each
	MULSD    X13, X0
	UNPCKLPD X0, X0
	MOVSD    8(CX)(SI*8), X1
	MULSD    X13, X1
	UNPCKLPD X1, X1
	MOVSD    (DX)(SI*8), X2   // X2, X3: z of a and b, twice each
	UNPCKLPD X2, X2
	MOVSD    8(DX)(SI*8), X3
	UNPCKLPD X3, X3
	XORPS    X5, X5           // X5, X6: the sums of a and b
	XORPS    X6, X6
	XORL     R9, R9
	TESTQ    SI, SI
	JZ       ends

columns:
	MOVUPD (CX)(R9*8), X7
	MOVAPD X7, X8
	MULPD  X0, X7
	MULPD  X1, X8
	MOVUPD (AX)(R9*8), X9
	MOVUPD (BX)(R9*8), X10
	SUBPD  X7, X9
	SUBPD  X8, X10
	MULPD  X4, X9
	MULPD  X4, X10
	MOVUPD X9, (AX)(R9*8)
	MOVUPD X10, (BX)(R9*8)
	MOVSD  (DX)(R9*8), X7 // one by one: two values that were just stored could not be loaded as one yet
	MOVHPD 8(DX)(R9*8), X7
	MOVAPD X7, X8
	MULPD  X9, X7
	MULPD  X10, X8
	ADDPD  X7, X5
	ADDPD  X8, X6
	MULPD  X2, X9
	MULPD  X3, X10
	MOVUPD (DI)(R9*8), X7
	ADDPD  X9, X7
	ADDPD  X10, X7
	MOVUPD X7, (DI)(R9*8)
	ADDQ   $2, R9
	CMPQ   R9, SI
	JLT    columns

ends:
	// X9, X10, X11: the diagonal's value of a, b's value left of the diagonal, the diagonal's value of b
	MOVSD    (CX)(SI*8), X7
	MOVAPD   X7, X8
	MULSD    X0, X7
	MULSD    X1, X8
	MULSD    8(CX)(SI*8), X1
	MOVSD    (AX)(SI*8), X9
	MOVSD    (BX)(SI*8), X10
	MOVSD    8(BX)(SI*8), X11
	SUBSD    X7, X9
	SUBSD    X8, X10
	SUBSD    X1, X11
	MULSD    X4, X9
	MULSD    X4, X10
	MULSD    X4, X11
	ADDSD    X14, X9
	ADDSD    X14, X11
	MOVSD    X9, (AX)(SI*8)
	MOVSD    X10, (BX)(SI*8)
	MOVSD    X11, 8(BX)(SI*8)

	// next of a: its sums, and what a and b give to its column
	MOVAPD   X5, X7
	UNPCKHPD X7, X7
	ADDSD    X7, X5
	MULSD    X2, X9
	ADDSD    X9, X5
	MOVAPD   X10, X8
	MULSD    X3, X8
	ADDSD    X8, X5

	// next of b
	MULSD    X2, X10
	ADDSD    X10, X6         // the even sum
	MOVAPD   X6, X7
	UNPCKHPD X7, X7
	ADDSD    X7, X6
	MULSD    X3, X11
	ADDSD    X11, X6
	UNPCKLPD X6, X5
	MOVUPD   X5, (DI)(SI*8)

	LEAQ 16(BX)(SI*8), AX
	ADDQ $2, SI
	JMP  rows

last:
	CMPQ     SI, z_len+56(FP)
	JGE      done
	MOVSD    (CX)(SI*8), X0
	MULSD    X13, X0
	UNPCKLPD X0, X0
	MOVSD    (DX)(SI*8), X2
	UNPCKLPD X2, X2
	XORPS    X5, X5
	XORL     R9, R9
	TESTQ    SI, SI
	JZ       end

column:
	MOVUPD (CX)(R9*8), X7
	MULPD  X0, X7
	MOVUPD (AX)(R9*8), X9
	SUBPD  X7, X9
	MULPD  X4, X9
	MOVUPD X9, (AX)(R9*8)
	MOVSD  (DX)(R9*8), X7
	MOVHPD 8(DX)(R9*8), X7
	MULPD  X9, X7
	ADDPD  X7, X5
	MULPD  X2, X9
	MOVUPD (DI)(R9*8), X7
	ADDPD  X9, X7
	MOVUPD X7, (DI)(R9*8)
	ADDQ   $2, R9
	CMPQ   R9, SI
	JLT    column

end:
	MULSD    (CX)(SI*8), X0
	MOVSD    (AX)(SI*8), X9
	SUBSD    X0, X9
	MULSD    X4, X9
	ADDSD    X14, X9
	MOVSD    X9, (AX)(SI*8)
	MOVAPD   X5, X7
	UNPCKHPD X7, X7
	ADDSD    X7, X5
	MULSD    X2, X9
	ADDSD    X9, X5
	MOVSD    X5, (DI)(SI*8)

done:
	RET
