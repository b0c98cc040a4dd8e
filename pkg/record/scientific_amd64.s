#include "textflag.h"

// A number has 24 bytes: digit, point, 18 digits, e, sign, two digits. Its bytes 0 to 15 are in the lower half of a
// register and 8 to 23 in the upper half. From each byte the lowest that may stand there is taken off (zero<>), the sign
// of the exponent then loses the bit that tells plus from minus (care<>), and what is left may reach most<>.
DATA zero<>+0(SB)/8, $0x3030303030302e30
DATA zero<>+8(SB)/8, $0x3030303030303030
DATA zero<>+16(SB)/8, $0x3030303030303030
DATA zero<>+24(SB)/8, $0x30302b6530303030
GLOBL zero<>(SB), RODATA|NOPTR, $32
DATA care<>+0(SB)/8, $0xffffffffffffffff
DATA care<>+8(SB)/8, $0xffffffffffffffff
DATA care<>+16(SB)/8, $0xffffffffffffffff
DATA care<>+24(SB)/8, $0xfffffdffffffffff
GLOBL care<>(SB), RODATA|NOPTR, $32
DATA most<>+0(SB)/8, $0x0909090909090009
DATA most<>+8(SB)/8, $0x0909090909090909
DATA most<>+16(SB)/8, $0x0909090909090909
DATA most<>+24(SB)/8, $0x0909000009090909
GLOBL most<>(SB), RODATA|NOPTR, $32

// The digits in groups of four: below, nothing and seven digits, then eight; above, four digits, then the exponent's two.
DATA place<>+0(SB)/8, $0x0706050403020080
DATA place<>+8(SB)/8, $0x0f0e0d0c0b0a0908
DATA place<>+16(SB)/8, $0x0b0a090880808080
DATA place<>+24(SB)/8, $0x0f0e808080808080
GLOBL place<>(SB), RODATA|NOPTR, $32

DATA tens<>+0(SB)/4, $0x010a010a
GLOBL tens<>(SB), RODATA|NOPTR, $4
DATA hundreds<>+0(SB)/4, $0x00010064
GLOBL hundreds<>(SB), RODATA|NOPTR, $4
DATA thousands<>+0(SB)/4, $0x00012710
GLOBL thousands<>(SB), RODATA|NOPTR, $4

// func scientificAVX2(dst []float64, line []byte, power *uint128) (n, size int)
TEXT ·scientificAVX2(SB), NOSPLIT, $0-72
	MOVQ         dst_base+0(FP), DI
	MOVQ         dst_len+8(FP), R8
	LEAQ         (DI)(R8*8), R8        // the end of dst
	MOVQ         line_base+24(FP), SI
	MOVQ         line_len+32(FP), R9
	ADDQ         SI, R9                // the end of line
	MOVQ         power+48(FP), R11
	MOVQ         SI, R12               // behind the last number
	VMOVDQU      zero<>(SB), Y8
	VMOVDQU      care<>(SB), Y9
	VMOVDQU      most<>(SB), Y10
	VMOVDQU      place<>(SB), Y11
	VPBROADCASTD tens<>(SB), Y12
	VPBROADCASTD hundreds<>(SB), Y13
	VPBROADCASTD thousands<>(SB), Y14
	CMPQ         DI, R8
	JEQ          done

number:
	LEAQ  24(SI), R10
	CMPQ  R10, R9
	JHI   done
	XORL  BX, BX
	CMPB  (SI), $0x2d
	SETEQ BX          // the sign, whose guess would be wrong half the time
	ADDQ  BX, SI
	LEAQ  24(SI), R10
	CMPQ  R10, R9
	JHI   done

	// Is it in the layout?
	VMOVDQU     (SI), X0
	VINSERTI128 $1, 8(SI), Y0, Y0
	VPSUBB      Y8, Y0, Y0
	VPAND       Y9, Y0, Y1
	VPSUBUSB    Y10, Y1, Y1
	VPTEST      Y1, Y1
	JNZ         done

	// Neighbours are joined to two, four, and eight digits.
	VPSHUFB      Y11, Y0, Y0
	VPMADDUBSW   Y12, Y0, Y0
	VPMADDWD     Y13, Y0, Y0
	VPACKUSDW    Y0, Y0, Y0
	VPMADDWD     Y14, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VMOVQ        X0, CX      // seven digits, and above them eight
	VMOVQ        X1, DX      // four digits, and above them the exponent
	MOVL         CX, AX
	SHRQ         $32, CX
	IMUL3Q       $100000000, AX, AX
	ADDQ         AX, CX
	IMUL3Q       $10000, CX, CX
	MOVL         DX, AX
	ADDQ         AX, CX      // the mantissa
	SHRQ         $32, DX
	MOVBLZX      21(SI), AX
	SHRL         $2, AX      // the bit in which minus and plus differ
	ANDL         $1, AX
	NEGQ         AX
	XORQ         AX, DX
	SUBQ         AX, DX      // the exponent
	CMPQ         DX, $13
	JGT          done
	ADDQ         $24, SI
	CMPQ         SI, R9
	JEQ          scale
	CMPB         (SI), $0x2c
	JNE          done

scale:
	// As the function scale does it, for numbers that are zero or neither denormal, infinite, nor halfway between two.
	MOVQ   DX, R13
	SHLQ   $4, R13
	MOVQ   CX, AX
	ORQ    $1, AX
	BSRQ   AX, AX
	XORQ   $63, AX            // zeros
	SHLXQ  AX, CX, DX
	MULXQ  (R11)(R13*1), R10, R14
	MULXQ  8(R11)(R13*1), DX, DX
	ADDQ   DX, R10
	ADCQ   $0, R14            // hi
	MOVQ   R14, DX
	SHRQ   $63, DX            // top
	LEAQ   9(DX), R10
	SHRXQ  R10, R14, R14
	MOVQ   R14, R10
	ANDQ   $1, R10
	ADDQ   R10, R14
	SHRQ   $1, R14            // m
	IMUL3Q $217706, R13, R13  // R13 is 16 times the exponent, and the power of ten 18 less
	SUBQ   $(16*18*217706), R13
	SARQ   $20, R13
	LEAQ   1085(R13)(DX*1), R13
	SUBQ   AX, R13
	SHLQ   $52, R13
	ADDQ   R14, R13
	NEGQ   CX
	SBBQ   CX, CX             // zero for a mantissa of zero, else all ones
	ANDQ   CX, R13
	SHLQ   $63, BX
	ORQ    BX, R13
	MOVQ   R13, (DI)
	ADDQ   $8, DI
	MOVQ   SI, R12
	CMPQ   DI, R8
	JEQ    done
	INCQ   SI                 // beyond the end of line, the check above ends it
	JMP    number

done:
	VZEROUPPER
	SUBQ dst_base+0(FP), DI
	SHRQ $3, DI
	MOVQ DI, n+56(FP)
	SUBQ line_base+24(FP), R12
	MOVQ R12, size+64(FP)
	RET
