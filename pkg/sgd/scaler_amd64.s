#include "go_asm.h"
#include "textflag.h"

#define N         (BX)(AX*8)
#define SHIFT     (CX)(AX*8)
#define SCALE     (DX)(AX*8)
#define SCALE2    (SI)(AX*8)
#define MEAN      (DI)(AX*8)
#define VARIANCE  (R8)(AX*8)
#define DEVIATION (R9)(AX*8)
#define REACH     (R10)(AX*8)
#define X         (R11)(AX*8)
#define T         (R12)(AX*8)
#define Z         (R13)(AX*8)

// TWICE puts a constant into both halves of a register.
#define TWICE(constant, to) \
	MOVSD    constant(R14), to \
	UNPCKLPD to, to

// MASKS makes the bits of all but the signs in X14, and those of the signs in X15.
#define MASKS \
	PCMPEQL X14, X14 \
	MOVO    X14, X15 \
	PSRLQ   $1, X14  \
	PSLLQ   $63, X15

// FIELDS loads where the fields of the robustColumns at R14 begin.
#define FIELDS \
	MOVQ (robustColumns_units+units_shift)(R14), CX  \
	MOVQ (robustColumns_units+units_scale)(R14), DX  \
	MOVQ (robustColumns_units+units_scale2)(R14), SI \
	MOVQ robustColumns_mean(R14), DI                 \
	MOVQ robustColumns_variance(R14), R8             \
	MOVQ robustColumns_deviation(R14), R9            \
	MOVQ robustColumns_reach(R14), R10

// DISTANCE does as many columns as MOVE moves: X0 becomes t, X1 the mean, X2 the variance, X3 the deviation, and X4 d. X5 has
// all bits of those whose |d| is not above the reach, and whose variance is not below the least.
#define DISTANCE(MOVE) \
	MOVE     X, X0         \
	MOVE     SHIFT, X1     \
	SUBPD    X1, X0        \
	MOVE     SCALE, X2     \
	MULPD    X2, X0        \
	MOVE     SCALE2, X3    \
	MULPD    X3, X0        \
	MINPD    X13, X0       \
	MOVAPD   X13, X4       \
	ORPD     X15, X4       \
	MAXPD    X4, X0        \
	MOVE     MEAN, X1      \
	MOVE     VARIANCE, X2  \
	MOVE     DEVIATION, X3 \
	MOVAPD   X0, X4        \
	SUBPD    X1, X4        \
	MOVAPD   X4, X5        \
	ANDPD    X14, X5       \
	MOVE     REACH, X6     \
	CMPPD    X6, X5, $2    \
	MOVAPD   X11, X7       \
	CMPPD    X2, X7, $2    \
	ANDPD    X7, X5

// UNLESS goes to done where not all of X5 is set; MOVMSKPD gives the bits of all if it is.
#define UNLESS(all) \
	MOVMSKPD X5, R15  \
	ANDL     all, R15 \
	CMPL     R15, all \
	JNE      done

// COLUMNS is steadyColumns for as many columns as MOVE moves.
#define COLUMNS(MOVE, all) \
	DISTANCE(MOVE)         \
	UNLESS(all)            \
	MOVE     X0, T         \
	MULPD    X10, X3       \
	MINPD    X3, X4        \
	ORPD     X15, X3       \
	MAXPD    X3, X4        \
	MOVAPD   X4, X5        \
	MULPD    X8, X5        \
	ADDPD    X5, X1        \
	MOVE     X1, MEAN      \
	MULPD    X5, X4        \
	ADDPD    X4, X2        \
	MULPD    X9, X2        \
	MOVE     X2, VARIANCE  \
	SQRTPD   X2, X2        \
	MOVE     X2, DEVIATION \
	SUBPD    X1, X0        \
	DIVPD    X2, X0        \
	MINPD    X12, X0       \
	MOVAPD   X12, X4       \
	ORPD     X15, X4       \
	MAXPD    X4, X0        \
	MOVE     X0, Z

// APPLIED is applyColumns for as many columns as MOVE moves. A value that is no number is equal to nothing.
#define APPLIED(MOVE, all) \
	DISTANCE(MOVE)         \
	MOVE     X, X8         \
	CMPPD    X8, X8, $0    \
	ANDPD    X8, X5        \
	UNLESS(all)            \
	MOVE     X0, T         \
	DIVPD    X3, X4        \
	MINPD    X12, X4       \
	MOVAPD   X12, X5       \
	ORPD     X15, X5       \
	MAXPD    X5, X4        \
	MOVE     X4, Z

// func steadyColumns(from int, s *robustColumns, x, t, z []float64, k *steadyConstants) (to int)
TEXT ·steadyColumns(SB), NOSPLIT, $0-104
	MOVQ k+88(FP), R14
	TWICE(steadyConstants_share, X8)
	TWICE(steadyConstants_keep, X9)
	TWICE(steadyConstants_limit, X10)
	TWICE(steadyConstants_least, X11)
	TWICE(steadyConstants_maxZ, X12)
	TWICE(steadyConstants_maxT, X13)
	MASKS
	MOVQ from+0(FP), AX
	MOVQ s+8(FP), R14
	MOVQ robustColumns_n(R14), BX
	FIELDS
	MOVQ x_base+16(FP), R11
	MOVQ t_base+40(FP), R12
	MOVQ z_base+64(FP), R13
	MOVQ z_len+72(FP), R14
	DECQ R14         // while AX is below it, two columns are left

columns:
	CMPQ AX, R14
	JGE  last
	CMPQ N, $const_robustMemory
	JCS  done
	CMPQ 8(BX)(AX*8), $const_robustMemory
	JCS  done
	COLUMNS(MOVUPD, $3)
	ADDQ $2, AX
	JMP  columns

last:
	JNE  done // none is left
	CMPQ N, $const_robustMemory
	JCS  done
	COLUMNS(MOVSD, $1)
	INCQ AX

done:
	MOVQ AX, to+96(FP)
	RET

// func applyColumns(from int, s *robustColumns, x, t, z []float64, k *steadyConstants) (to int)
TEXT ·applyColumns(SB), NOSPLIT, $0-104
	MOVQ k+88(FP), R14
	TWICE(steadyConstants_least, X11)
	TWICE(steadyConstants_maxZ, X12)
	TWICE(steadyConstants_maxT, X13)
	MASKS
	MOVQ from+0(FP), AX
	MOVQ s+8(FP), R14
	FIELDS
	MOVQ x_base+16(FP), R11
	MOVQ t_base+40(FP), R12
	MOVQ z_base+64(FP), R13
	MOVQ z_len+72(FP), R14
	DECQ R14         // while AX is below it, two columns are left

columns:
	CMPQ AX, R14
	JGE  last
	APPLIED(MOVUPD, $3)
	ADDQ $2, AX
	JMP  columns

last:
	JNE  done // none is left
	APPLIED(MOVSD, $1)
	INCQ AX

done:
	MOVQ AX, to+96(FP)
	RET
