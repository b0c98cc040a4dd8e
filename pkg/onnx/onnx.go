// Package onnx writes models as ONNX files (https://onnx.ai): graphs of standard operators that other programs answer with.
package onnx

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"learner/pkg/sgd"
)

const (
	irVersion = 8  // of the format
	opset     = 17 // version of the operators

	// The names of what goes in: float64 [N, width], with NaN for missing values, and, where the model knows sparse features,
	// float64 [N, their number], 1 where a row has the feature and 0 elsewhere; and of what comes out: float64 [N, 2] with the
	// probabilities of class 0 and 1, and int64 [N] with the more probable class, 1 where they are equal.
	inputName, sparseName, probabilitiesName, labelName = "features", "sparse", "probabilities", "label"
)

// About is what a file says of its model, for people and for tools.
type About struct {
	Name     string
	Doc      string
	Version  string            // of this program
	Metadata map[string]string // UTF-8
}

// Marshal returns the model of a formula as an ONNX file. Its bytes depend on the arguments alone.
func Marshal(f *sgd.Formula, about *About) ([]byte, error) {
	g := graph{results: make([]string, len(f.Steps))}
	for i := range f.Steps {
		if err := g.step(i, &f.Steps[i]); err != nil {
			return nil, fmt.Errorf("write step %d of model %s as ONNX: %w", i, about.Name, err)
		}
	}
	g.outputs(g.results[len(f.Steps)-1])

	file := appendInt(nil, modelIRVersion, irVersion)
	file = appendString(file, modelProducerName, "learner")
	file = appendString(file, modelProducerVersion, about.Version)
	file = appendString(file, modelDoc, about.Doc)
	file = appendMessage(file, modelGraph, g.encode(about.Name, f))
	file = appendMessage(file, modelOpsetImport, appendInt(nil, opsetVersion, opset)) // of the standard domain, which has no name
	for _, key := range slices.Sorted(maps.Keys(about.Metadata)) {
		entry := appendString(nil, entryKey, key)
		file = appendMessage(file, modelMetadata, appendString(entry, entryValue, about.Metadata[key]))
	}
	return file, nil
}

// Numbers of fields, by the messages of onnx.proto.
const (
	modelIRVersion, modelProducerName, modelProducerVersion, modelDoc = 1, 2, 3, 6
	modelGraph, modelOpsetImport, modelMetadata                       = 7, 8, 14
	opsetVersion                                                      = 2
	entryKey, entryValue                                              = 1, 2

	graphNode, graphName, graphInitializer, graphInput, graphOutput = 1, 2, 5, 11, 12
	nodeInput, nodeOutput, nodeOpType, nodeAttribute                = 1, 2, 4, 5
	attributeName, attributeInt, attributeType                      = 1, 3, 20
	tensorDims, tensorDataType, tensorName, tensorRawData           = 1, 2, 8, 9
	valueName, valueType                                            = 1, 2
	typeTensor, typeElement, typeShape                              = 1, 1, 2
	shapeDim, dimValue, dimParam                                    = 1, 1, 2

	attributeIsInt = 2 // AttributeProto.AttributeType
)

// Types of values: TensorProto.DataType.
const (
	float32Type = 1
	int64Type   = 7
	float64Type = 11
)

// operators holds the operator of each operation that is one, without attributes.
var operators = map[sgd.Op]string{
	sgd.OpAdd: "Add", sgd.OpSub: "Sub", sgd.OpMul: "Mul", sgd.OpDiv: "Div", sgd.OpMin: "Min", sgd.OpMax: "Max",
	sgd.OpAbs: "Abs", sgd.OpExp: "Exp", sgd.OpLog: "Log", sgd.OpMatMul: "MatMul",
	sgd.OpGreater: "Greater", sgd.OpNaN: "IsNaN", sgd.OpSelect: "Where",
}

// graph collects the parts of a GraphProto.
type graph struct {
	results             []string // by step: the name of its result
	nodes, initializers []byte
}

// attribute is a whole number that an operator is told.
type attribute struct {
	name  string
	value int
}

// step adds a step, whose operands are there.
func (g *graph) step(number int, s *sgd.Step) error {
	of := make([]string, len(s.Of))
	for i, operand := range s.Of {
		of[i] = g.results[operand]
	}
	result := fmt.Sprintf("%s_%d", s.Op, number)
	g.results[number] = result
	if operator, ok := operators[s.Op]; ok {
		g.node(operator, of, result)
		return nil
	}
	switch s.Op {
	case sgd.OpRows:
		g.results[number] = inputName
	case sgd.OpSparse:
		g.results[number] = sparseName
	case sgd.OpConstant:
		return g.constant(result, &s.Value)
	case sgd.OpSum:
		axes := g.integers(result+"_axes", -1)
		g.node("ReduceSum", append(of, axes), result, attribute{"keepdims", 0})
	case sgd.OpJoin:
		g.node("Concat", of, result, attribute{"axis", -1})
	case sgd.OpColumns:
		g.node("Gather", of, result, attribute{"axis", 1})
	case sgd.OpPick:
		g.node("GatherElements", of, result, attribute{"axis", 1})
	case sgd.OpTake:
		g.node("Gather", of, result, attribute{"axis", 0})
	case sgd.OpLeast:
		g.nodeOf("TopK", of, []string{result + "_values", result}, attribute{"largest", 0}, attribute{"sorted", 1})
	case sgd.OpFloat32:
		g.node("Cast", of, result, attribute{"to", float32Type})
	case sgd.OpFloat64:
		g.node("Cast", of, result, attribute{"to", float64Type})
	default:
		return fmt.Errorf("unknown operation %q", s.Op)
	}
	return nil
}

// outputs makes the model's outputs of the probabilities of class 1.
func (g *graph) outputs(p string) {
	g.scalar("one", 1)
	g.scalar("half", 0.5)
	g.node("Sub", []string{"one", p}, "other")
	g.node("Concat", []string{"other", p}, probabilitiesName, attribute{"axis", -1})
	g.node("GreaterOrEqual", []string{p, "half"}, "ones")
	g.node("Cast", []string{"ones"}, "labels", attribute{"to", int64Type})
	g.node("Reshape", []string{"labels", g.integers("flat", -1)}, labelName)
}

// encode returns the GraphProto.
func (g *graph) encode(name string, f *sgd.Formula) []byte {
	message := slices.Clone(g.nodes)
	message = appendString(message, graphName, name)
	message = append(message, g.initializers...)
	message = appendMessage(message, graphInput, valueInfo(inputName, float64Type, f.Width))
	if f.Sparse > 0 {
		message = appendMessage(message, graphInput, valueInfo(sparseName, float64Type, f.Sparse))
	}
	message = appendMessage(message, graphOutput, valueInfo(probabilitiesName, float64Type, 2))
	return appendMessage(message, graphOutput, valueInfo(labelName, int64Type))
}

// node adds a node with one output, nodeOf one with several.
func (g *graph) node(operator string, inputs []string, output string, attributes ...attribute) {
	g.nodeOf(operator, inputs, []string{output}, attributes...)
}

func (g *graph) nodeOf(operator string, inputs, outputs []string, attributes ...attribute) {
	var message []byte
	for _, name := range inputs {
		message = appendString(message, nodeInput, name)
	}
	for _, name := range outputs {
		message = appendString(message, nodeOutput, name)
	}
	message = appendString(message, nodeOpType, operator)
	for _, a := range attributes {
		field := appendString(nil, attributeName, a.name)
		field = appendInt(field, attributeInt, a.value)
		message = appendMessage(message, nodeAttribute, appendInt(field, attributeType, attributeIsInt))
	}
	g.nodes = appendMessage(g.nodes, graphNode, message)
}

// constant adds a constant under a name.
func (g *graph) constant(name string, t *sgd.Tensor) error {
	var kind int
	switch t.Data.(type) {
	case []float64:
		kind = float64Type
	case []float32:
		kind = float32Type
	case []int64:
		kind = int64Type
	default:
		return fmt.Errorf("constant of type %T", t.Data)
	}
	values, err := binary.Append(nil, binary.LittleEndian, t.Data)
	if err != nil {
		return err
	}
	var message []byte
	for _, n := range t.Shape {
		message = appendInt(message, tensorDims, n)
	}
	message = appendInt(message, tensorDataType, kind)
	message = appendString(message, tensorName, name)
	g.initializers = appendMessage(g.initializers, graphInitializer, appendMessage(message, tensorRawData, values))
	return nil
}

// scalar adds a constant that is one number.
func (g *graph) scalar(name string, value float64) {
	_ = g.constant(name, &sgd.Tensor{Data: []float64{value}}) // its type is known
}

// integers adds a constant vector of whole numbers and returns its name.
func (g *graph) integers(name string, values ...int64) string {
	_ = g.constant(name, &sgd.Tensor{Shape: []int{len(values)}, Data: values}) // its type is known
	return name
}

// valueInfo returns the ValueInfoProto of [N] or [N, columns].
func valueInfo(name string, kind int, columns ...int) []byte {
	shape := appendMessage(nil, shapeDim, appendString(nil, dimParam, "N"))
	for _, n := range columns {
		shape = appendMessage(shape, shapeDim, appendInt(nil, dimValue, n))
	}
	tensor := appendMessage(appendInt(nil, typeElement, kind), typeShape, shape)
	return appendMessage(appendString(nil, valueName, name), valueType, appendMessage(nil, typeTensor, tensor))
}

func appendInt(dst []byte, field protowire.Number, value int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), uint64(value))
}

func appendString(dst []byte, field protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, field, protowire.BytesType), text)
}

func appendMessage(dst []byte, field protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), message)
}
