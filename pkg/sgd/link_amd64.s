#include "textflag.h"

// The constants, each for both halves of a register: ±30, the signs, log2 e, ½, 1, ln 2 in two parts, 2^52 + 1023, and
// 1/2! to 1/13!.
#define LIMIT    link<>+0(SB)
#define NEGLIMIT link<>+16(SB)
#define SIGN     link<>+32(SB)
#define LOG2E    link<>+48(SB)
#define HALF     link<>+64(SB)
#define ONE      link<>+80(SB)
#define LN2HI    link<>+96(SB)
#define LN2LO    link<>+112(SB)
#define BIAS     link<>+128(SB)
#define C2       link<>+144(SB)
#define C3       link<>+160(SB)
#define C4       link<>+176(SB)
#define C5       link<>+192(SB)
#define C6       link<>+208(SB)
#define C7       link<>+224(SB)
#define C8       link<>+240(SB)
#define C9       link<>+256(SB)
#define C10      link<>+272(SB)
#define C11      link<>+288(SB)
#define C12      link<>+304(SB)
#define C13      link<>+320(SB)

DATA link<>+0(SB)/8, $0x403e000000000000
DATA link<>+8(SB)/8, $0x403e000000000000
DATA link<>+16(SB)/8, $0xc03e000000000000
DATA link<>+24(SB)/8, $0xc03e000000000000
DATA link<>+32(SB)/8, $0x8000000000000000
DATA link<>+40(SB)/8, $0x8000000000000000
DATA link<>+48(SB)/8, $0x3ff71547652b82fe
DATA link<>+56(SB)/8, $0x3ff71547652b82fe
DATA link<>+64(SB)/8, $0x3fe0000000000000
DATA link<>+72(SB)/8, $0x3fe0000000000000
DATA link<>+80(SB)/8, $0x3ff0000000000000
DATA link<>+88(SB)/8, $0x3ff0000000000000
DATA link<>+96(SB)/8, $0x3fe62e42fee00000
DATA link<>+104(SB)/8, $0x3fe62e42fee00000
DATA link<>+112(SB)/8, $0x3dea39ef35793c76
DATA link<>+120(SB)/8, $0x3dea39ef35793c76
DATA link<>+128(SB)/8, $0x43300000000003ff
DATA link<>+136(SB)/8, $0x43300000000003ff
DATA link<>+144(SB)/8, $0x3fe0000000000000
DATA link<>+152(SB)/8, $0x3fe0000000000000
DATA link<>+160(SB)/8, $0x3fc5555555555555
DATA link<>+168(SB)/8, $0x3fc5555555555555
DATA link<>+176(SB)/8, $0x3fa5555555555555
DATA link<>+184(SB)/8, $0x3fa5555555555555
DATA link<>+192(SB)/8, $0x3f81111111111111
DATA link<>+200(SB)/8, $0x3f81111111111111
DATA link<>+208(SB)/8, $0x3f56c16c16c16c17
DATA link<>+216(SB)/8, $0x3f56c16c16c16c17
DATA link<>+224(SB)/8, $0x3f2a01a01a01a01a
DATA link<>+232(SB)/8, $0x3f2a01a01a01a01a
DATA link<>+240(SB)/8, $0x3efa01a01a01a01a
DATA link<>+248(SB)/8, $0x3efa01a01a01a01a
DATA link<>+256(SB)/8, $0x3ec71de3a556c734
DATA link<>+264(SB)/8, $0x3ec71de3a556c734
DATA link<>+272(SB)/8, $0x3e927e4fb7789f5c
DATA link<>+280(SB)/8, $0x3e927e4fb7789f5c
DATA link<>+288(SB)/8, $0x3e5ae64567f544e4
DATA link<>+296(SB)/8, $0x3e5ae64567f544e4
DATA link<>+304(SB)/8, $0x3e21eed8eff8d898
DATA link<>+312(SB)/8, $0x3e21eed8eff8d898
DATA link<>+320(SB)/8, $0x3de6124613a86d09
DATA link<>+328(SB)/8, $0x3de6124613a86d09
GLOBL link<>(SB), RODATA|NOPTR, $336

// func sigmoidPairs(to, margins []float64)
TEXT ·sigmoidPairs(SB), NOSPLIT, $0-48
	MOVQ to_base+0(FP), DI
	MOVQ margins_base+24(FP), SI
	MOVQ margins_len+32(FP), CX
	SUBQ $2, CX
	JLT  done

pair:
	// X0: x, minus the margin within ±30, or 0 where that is not a number
	MOVSD  (SI), X0 // one by one: two values that were just stored could not be loaded as one yet
	MOVHPD 8(SI), X0
	MOVAPD X0, X1
	CMPPD  X1, X1, $7
	ANDPD  X1, X0
	MINPD  LIMIT, X0
	MAXPD  NEGLIMIT, X0
	XORPD  SIGN, X0

	// X1: k, the largest whole number that is not above x·log2 e + ½
	MOVAPD    X0, X2
	MULPD     LOG2E, X2
	ADDPD     HALF, X2
	CVTTPD2PL X2, X1
	CVTPL2PD  X1, X1
	CMPPD     X1, X2, $1
	ANDPD     ONE, X2
	SUBPD     X2, X1

	// X0: hi, X2: lo, X3: r, X4: r², X5: r⁴
	MOVAPD X1, X2
	MULPD  LN2HI, X2
	SUBPD  X2, X0
	MOVAPD X1, X2
	MULPD  LN2LO, X2
	MOVAPD X0, X3
	SUBPD  X2, X3
	MOVAPD X3, X4
	MULPD  X3, X4
	MOVAPD X4, X5
	MULPD  X4, X5

	// X6: the series q
	MOVAPD X3, X6
	MULPD  C13, X6
	ADDPD  C12, X6
	MULPD  X4, X6
	MOVAPD X3, X7
	MULPD  C11, X7
	ADDPD  C10, X7
	ADDPD  X7, X6 // high
	MULPD  X5, X6
	MOVAPD X3, X7
	MULPD  C9, X7
	ADDPD  C8, X7
	MULPD  X4, X7
	MOVAPD X3, X8
	MULPD  C7, X8
	ADDPD  C6, X8
	ADDPD  X8, X7 // middle
	ADDPD  X7, X6
	MULPD  X5, X6
	MOVAPD X3, X7
	MULPD  C5, X7
	ADDPD  C4, X7
	MULPD  X4, X7
	MULPD  C3, X3
	ADDPD  C2, X3
	ADDPD  X3, X7 // low
	ADDPD  X7, X6

	// 1/(1 + y·2^k), y = 1 - (lo - r²·q - hi)
	MULPD  X4, X6
	SUBPD  X6, X2
	SUBPD  X0, X2
	MOVAPD ONE, X3
	MOVAPD X3, X0
	SUBPD  X2, X3
	ADDPD  BIAS, X1
	PSLLQ  $52, X1
	MULPD  X1, X3
	ADDPD  X0, X3
	DIVPD  X3, X0
	MOVUPD X0, (DI)
	ADDQ   $16, SI
	ADDQ   $16, DI
	SUBQ   $2, CX
	JGE    pair

done:
	RET
